"""An error of ours switches off the check that it came from, and every other one goes on."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tests import prepared
from triage.errors import TrapError
from triage.evidence import Evidence
from triage.sglang.binding.hooks import _chain
from triage.sglang.binding.shell import Shells
from triage.sglang.binding.verdicts import UNDESCRIBED, trap_error

CHILD = """
import json, sys, tempfile
from pathlib import Path
from triage.lab import bootstrap
bootstrap.prepare()
from tests.torture import inject_child
from triage.lab.bugs import CATALOGUE
CATALOGUE = {"double-free": CATALOGUE["double-free"]}
from triage.sglang.allocator.ledger_hooks import LedgerHooks
from triage.sglang.launch.host_check import HostTableCheck
from triage.sglang.launch.metadata import Metadata
from triage.sglang.launch.writes import WriteTrap

inject_child.STEPS = None
BROKEN = {
    "launches": HostTableCheck.before_launch,
    "ledger": LedgerHooks.around_free,
    "metadata": Metadata.around_eager,
    "writes": WriteTrap.before_write,
}
for each in sys.argv[1:]:
    broken, defect = each.split(":")
    code = BROKEN[broken].__code__
    target = [code.co_filename, code.co_qualname, code.co_firstlineno]

    def run():
        if defect not in CATALOGUE:
            return inject_child.injected("raise", defect, target, Path(folder))
        with CATALOGUE[defect].inject(lambda: None):
            return inject_child.injected("raise", None, target, Path(folder))

    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(inject_child.in_a_child(run, 120)), flush=True)
"""
CASES = {
    # the launch's check is gone, and the ledger still sees a page freed twice
    "launches:double-free": ("checks of launches and steps", "BrokenLifecycle"),
    # each of these is gone, and the table's check still sees the stale state
    "ledger:stale-swa-state": ("ledger of pages and rows", "StaleSWAState"),
    "metadata:stale-swa-state": ("checks of metadata", "StaleSWAState"),
    "writes:stale-swa-state": ("checks of writes", "StaleSWAState"),
}


def test_a_broken_check_is_off_and_the_others_still_find_what_is_wrong():
    done = prepared.python("-c", CHILD, *CASES, timeout=400)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(CASES), done.stderr[-2000:]
    for row, (group, error) in zip(rows, CASES.values(), strict=True):
        assert row["injected"] and row["said"] == row["counted"] == 1, row
        assert row["not_covered"] == [f"{group}: switched off"], row
        assert (row["outcome"], row["trapped"]) == ("trapped", error), row


# -- contexts ----------------------------------------------------------------------------------


class Sglangs:
    """A context of SGLang's that notes what became of it."""

    def __init__(self, enters=True):
        self.enters, self.seen = enters, []

    @contextmanager
    def __call__(self):
        if not self.enters:
            raise KeyError("SGLang's own")
        self.seen.append("entered")
        try:
            yield "value"
        finally:
            self.seen.append("left")


def beside(at, error=RuntimeError):
    """Stands beside a context, and fails at stage `at`."""

    def steps(original):
        for stage in range(4):
            if stage == at:
                raise error("ours") if error is RuntimeError else error
            yield

    return steps


@pytest.mark.parametrize("at", range(4))
def test_a_context_of_sglangs_is_entered_and_left_once_wherever_ours_fails(at, caplog):
    shells, original = Shells(), Sglangs()
    hook = shells.of("views").around_context(beside(at))
    with hook(original) as value:
        assert value == "value" and original.seen == ["entered"]
    assert original.seen == ["entered", "left"]
    assert list(shells.failures) == ["views: switched off"] and shells.internal_errors == 1
    assert len(caplog.records) == 1 and caplog.records[0].exc_info
    # AND from then on it is SGLang's alone
    with hook(original):
        pass
    assert shells.internal_errors == 1


@pytest.mark.parametrize("at", range(4))
def test_what_the_body_or_sglang_raises_goes_on_as_it_is(at):
    shells, original = Shells(), Sglangs()
    hook = shells.of("views").around_context(beside(at))
    with pytest.raises(ZeroDivisionError), hook(original):
        1 / 0  # noqa: B018
    assert original.seen == ["entered", "left"]
    with pytest.raises(KeyError), Shells().of("views").around_context(beside(9))(Sglangs(False)):
        raise AssertionError("not reached")


@pytest.mark.parametrize("at", range(4))
def test_a_trap_beside_a_context_surfaces_and_sglangs_is_left(at):
    original = Sglangs()
    found = TrapError(Evidence("I23", "a view was not left", ""))
    with pytest.raises(TrapError), Shells().of("views").around_context(beside(at, found))(original):
        pass
    assert original.seen in ([], ["entered", "left"])


# -- a hook that only looks on ------------------------------------------------------------------


class LooksOn:
    """The halves of a hook, of which `at` fails; `seen` has what they got."""

    def __init__(self, at=""):
        self.at, self.seen = at, []

    def before(self, target, args, kwargs):
        self.seen.append(("before", target, args, kwargs))
        if self.at == "before":
            raise RuntimeError("ours")
        return None if self.at == "nothing" else "kept"

    def behind(self, kept, result):
        self.seen.append(("behind", kept, result))
        if self.at == "behind":
            raise RuntimeError("ours")


def looks_on(halves, armed=True):
    shells = Shells()
    switch = SimpleNamespace(armed=armed)
    return shells, shells.of("hands").beside(halves.before, halves.behind, switch)


def test_a_hook_that_looks_on_has_the_arguments_first_and_the_result_last():
    halves = LooksOn()
    _, hook = looks_on(halves)
    assert hook(lambda target, a, b: a + b, "pool", 1, b=2) == 3
    assert halves.seen == [("before", "pool", (1,), {"b": 2}), ("behind", "kept", 3)]


@pytest.mark.parametrize(("at", "armed", "seen"), [("nothing", True, 1), ("", False, 0)])
def test_nothing_is_done_behind_what_is_not_wanted(at, armed, seen):
    halves = LooksOn(at)
    _, hook = looks_on(halves, armed)
    assert hook(lambda target: target, "pool") == "pool" and len(halves.seen) == seen


@pytest.mark.parametrize("at", ["before", "behind"])
def test_where_a_half_fails_sglangs_function_is_called_once_and_it_is_told_once(at, caplog):
    calls = []
    halves = LooksOn(at)
    shells, hook = looks_on(halves)
    for _ in range(2):
        assert hook(lambda target: calls.append(target) or 7, "pool") == 7
    assert calls == ["pool", "pool"]
    assert list(shells.failures) == ["hands: switched off"] and shells.internal_errors == 1
    assert len(caplog.records) == 1 and caplog.records[0].exc_info
    assert len(halves.seen) == (1 if at == "before" else 2)  # of the first call alone


@pytest.mark.parametrize("at", ["before", "behind", ""])
@pytest.mark.parametrize("error", [KeyError("SGLang's"), TrapError(Evidence("I6", "x", "free"))])
def test_what_sglang_or_an_inner_check_raises_goes_on_and_the_hook_is_ended(at, error):
    def original(target):
        raise error

    halves = LooksOn(at)
    _, hook = looks_on(halves)
    with pytest.raises(type(error)) as raised:
        hook(original, "pool")
    assert raised.value is error
    assert halves.seen[1:] == ([] if at == "before" else [("behind", "kept", None)])


# -- several hooks on one target --------------------------------------------------------------


class Nameless:
    """What another plugin put in SGLang's place: it works, and cannot be asked its name."""

    @property
    def __name__(self):
        raise RuntimeError("theirs")

    def __call__(self, tokens):
        return 2 * tokens


def test_hooks_that_cannot_be_linked_are_left_out_and_sglang_has_its_own_result(caplog):
    disarmed, seen = [], []

    def hook(original, *args):
        seen.append(args)
        return original(*args)

    shells = Shells()
    chained = _chain([hook, hook], shells.of("linked", lambda: disarmed.append(True)))
    original = Nameless()
    assert [chained(original, 3) for _ in range(2)] == [6, 6]
    # what shares state with these hooks would see half of the events
    assert disarmed == [True] and seen == [] and list(shells.failures) == ["linked: switched off"]
    assert len(caplog.records) == 1 and caplog.records[0].exc_info
    # AND where they can be, the first is outermost and each is called once
    assert _chain([hook, hook], Shells().of("linked"))(lambda tokens: tokens, 3) == 3
    assert seen == [(3,), (3,)]


# -- verdicts ----------------------------------------------------------------------------------


def test_a_fault_that_cannot_be_described_is_raised_all_the_same(caplog):
    with caplog.at_level(logging.ERROR):
        error = trap_error(lambda: 1 / 0, "I2")
    assert isinstance(error, TrapError)
    assert error.evidence.invariant == "I2" and error.evidence.summary == UNDESCRIBED
    assert "ZeroDivisionError" in caplog.text and caplog.records[0].exc_info
