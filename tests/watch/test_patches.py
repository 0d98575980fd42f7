"""Our own wrapping: all targets or none, safe beside another's hook, and the very objects back."""

from __future__ import annotations

import functools
import sys
import types

import pytest

from triage.errors import InstallError
from triage.sglang.binding.patches import Patch, Patches
from triage.sglang.binding.wrapping import Parameters, written_out


@pytest.fixture
def module(monkeypatch):
    """A module with two functions, and one that imported the first by name."""
    made, importer = types.ModuleType("watch_target"), types.ModuleType("watch_importer")
    exec("def first(a, b=2, *, c=3): return a, b, c\ndef second(): return 'second'", vars(made))
    importer.alias = made.first
    monkeypatch.setitem(sys.modules, "watch_target", made)
    monkeypatch.setitem(sys.modules, "watch_importer", importer)
    return made, importer


def around(seen):
    def make(original):
        body = "seen.append('before')\nreturn original(PASSED)"
        return written_out(original, Parameters.of(original), body, seen=seen)

    return make


def test_a_wrapper_hands_on_what_came_whatever_way_it_was_passed(module):
    made, importer = module
    first, seen = made.first, []
    patches = Patches([Patch("watch_target.first", around(seen), "test")])
    patches.install()
    assert made.first is not first and importer.alias is made.first
    assert made.first(1) == first(1)
    assert made.first(1, c=9, b=8) == first(1, c=9, b=8)
    assert len(seen) == 2 and patches.bound(patches.patches[0])
    # AND a wrong call is the same error
    with pytest.raises(TypeError, match="unexpected keyword argument 'd'"):
        made.first(1, d=1)


@pytest.mark.parametrize("further", [{}, {"c": 3}, {"c": 3, "d": None}])
def test_further_keywords_are_handed_on_and_none_where_none_came(further):
    seen = []

    def original(a, *, b=2, **more):
        return a, b, more

    wrapper = around(seen)(original)
    assert wrapper(1, **further) == (1, 2, further)
    assert wrapper(a=1, b=5, **further) == (1, 5, further)
    assert seen == ["before"] * 2


def test_putting_back_restores_the_very_objects(module):
    made, importer = module
    first = made.first
    patches = Patches([Patch("watch_target.first", around([]), "test")])
    patches.install()
    assert patches.restore() == []
    assert made.first is first and importer.alias is first


def test_what_somebody_wrapped_since_stays(module):
    made, _ = module
    patches = Patches([Patch("watch_target.first", around([]), "test")])
    patches.install()
    ours = made.first
    # GIVEN another plugin's hook on top
    made.first = functools.wraps(ours)(lambda *args, **kwargs: ours(*args, **kwargs))
    theirs = made.first
    # THEN ours is still reached, and taking it out is refused, since that would undo theirs
    assert patches.bound(patches.patches[0])
    assert patches.restore() == ["watch_target.first"]
    assert made.first is theirs


def test_a_hook_that_was_there_is_wrapped_with_what_it_wraps(module):
    made, _ = module
    plain, seen = made.first, []

    @functools.wraps(plain)
    def theirs(*args, **kwargs):
        seen.append(kwargs)
        return plain(*args, **kwargs)

    made.first = theirs
    patches = Patches([Patch("watch_target.first", around(seen), "test")])
    patches.install()
    # THEN it gets the keywords as they were passed, not the positions of what it wraps
    assert made.first(1, c=5) == (1, 2, 5)
    assert seen == ["before", {"c": 5}]


def test_one_target_that_cannot_be_wrapped_leaves_all_as_they_were(module):
    made, _ = module
    first = made.first
    made.second = "not a function"
    wanted = [Patch(f"watch_target.{name}", around([]), "test") for name in ("first", "second")]
    with pytest.raises(InstallError, match=r"watch_target.second is a str, not a function"):
        Patches(wanted).install()
    assert made.first is first


def test_a_second_patch_of_ours_is_refused(module):
    patches = [Patches([Patch("watch_target.first", around([]), "test")]) for _ in range(2)]
    patches[0].install()
    with pytest.raises(InstallError, match="patched by sglang-triage already"):
        patches[1].install()
