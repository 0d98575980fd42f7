"""Which fixes are bound for what was asked: by name, by `auto`, and never by halves."""

from __future__ import annotations

import pytest

from triage.errors import InstallError
from triage.sglang.fixes import FIXES, plan
from triage.sglang.fixes.fix import Fix, Need, Probe


def fix(name, need, *, automatic=True, conflicts=()):
    """A fix class whose probe answers `need`."""
    body = {
        "name": name,
        "what": "",
        "automatic": automatic,
        "conflicts": conflicts,
        "probe": staticmethod(lambda: Probe(need, f"because of {name}")),
        "hooks": lambda self: [],
    }
    return type(name, (Fix,), body)


KNOWN = {
    made.name: made
    for made in (
        fix("broken-here", Need.NEEDED),
        fix("also-broken", Need.NEEDED, conflicts=("broken-here",)),
        fix("solved", Need.ALREADY_FIXED),
        fix("elsewhere", Need.NOT_APPLICABLE),
        fix("a-choice", Need.NEEDED, automatic=False),
    )
}


def test_auto_takes_the_correctness_fixes_that_are_needed_and_reports_the_rest():
    known = {name: made for name, made in KNOWN.items() if name != "also-broken"}
    made = plan(("auto",), known)
    assert list(made.fixes) == ["broken-here"]
    assert {name: probe.need for name, probe in made.skipped.items()} == {
        "solved": Need.ALREADY_FIXED,
        "elsewhere": Need.NOT_APPLICABLE,
    }


def test_what_auto_leaves_out_can_be_added_by_name():
    known = {name: made for name, made in KNOWN.items() if name != "also-broken"}
    assert set(plan(("auto", "a-choice"), known).fixes) == {"broken-here", "a-choice"}


def test_a_fix_that_sglang_has_already_binds_nothing_and_says_why():
    made = plan(("solved",), KNOWN)
    assert made.fixes == {}
    assert str(made.skipped["solved"]) == "ALREADY_FIXED: because of solved"


def test_an_unknown_fix_is_answered_with_the_list():
    with pytest.raises(
        InstallError, match=r"'clamp'; SGLANG_TRIAGE_FIXES.* --fix.*: state-swap, .*, auto"
    ):
        plan(("clamp",))


def test_a_fix_asked_for_by_name_that_does_not_apply_is_refused_with_the_reason():
    with pytest.raises(InstallError, match="elsewhere does not apply here: because of elsewhere"):
        plan(("elsewhere",), KNOWN)


@pytest.mark.parametrize(
    "names", [("broken-here", "also-broken"), ("also-broken", "broken-here"), ("auto",)]
)
def test_conflicting_fixes_are_refused_with_both_names(names):
    with pytest.raises(InstallError, match="broken-here") as caught:
        plan(names, KNOWN)
    assert "also-broken" in str(caught.value)


def test_a_probe_that_meets_an_unknown_shape_is_not_applicable():
    class Stumbles(Fix):
        name, what = "stumbles", ""

        @staticmethod
        def probe():
            raise AttributeError("no such method")

        def hooks(self):
            return []

    assert Stumbles.ask().need is Need.NOT_APPLICABLE
    assert "AttributeError: no such method" in Stumbles.ask().reason


def test_every_fix_says_what_it_does_and_only_the_resizing_ones_are_never_automatic():
    assert all(made.what for made in FIXES.values())
    choices = [name for name, made in FIXES.items() if not made.automatic]
    assert choices == ["swa-ratio", "mm-piecewise-graphs"]
