"""The cost of the shells: what is left where they are taken away, and how a ratio is told."""

from __future__ import annotations

import ast

import pytest

from triage.bench.shell_cost import bare_of, record, spread, without_try
from triage.sglang.binding.hooks import _chain
from triage.sglang.binding.shell import Original, Shells

BODY = """
if not hot.armed:
    return original(PASSED)
try:
    ours()
except TrapError:
    raise
except Exception as _problem:  # as the executed wrappers have it
    failed(_problem)
try:
    return original(PASSED)
finally:
    hot.current_call = None
"""


def test_a_wrapper_without_its_shell_does_the_same_and_catches_nothing():
    bare = without_try(BODY)
    tree = ast.parse("def wrapper():\n    " + bare.replace("\n", "\n    "))
    assert not [handler for each in ast.walk(tree) if isinstance(each, ast.Try)
                for handler in each.handlers]  # fmt: skip
    assert "ours()" in bare and "finally" in bare
    # the names stay, so that one code can be exchanged for the other
    names = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    assert names >= {"TrapError", "Exception", "failed", "original", "hot"}


def test_a_hook_without_its_shell_gets_sglangs_own_function():
    given = []

    def hook(original, tokens):
        given.append(type(original))
        return original(tokens)

    shells = Shells()
    shelled = shells.of("a").around(hook)
    chained = _chain([shelled, shells.of("b").around(hook)], shells.of("linked"))
    assert shelled(abs, -3) == bare_of(shelled)(abs, -3) == 3
    assert given == [Original, type(abs)] and bare_of(shelled) is hook
    given.clear()
    assert chained(abs, -3) == bare_of(chained)(abs, -3) == 3
    assert given.count(Original) == 2 and len(given) == 4
    assert bare_of(hook) is hook


def test_a_ratio_is_told_with_its_tenths():
    found = spread([0.9, 1.0, 1.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert found[0] == 1.0 and found[1] == pytest.approx(0.91) and found[2] == pytest.approx(1.09)
    of = {"cost": found, "noise": found, "with_us": 10, "without_us": 9, "wrappers": 3, "hooks": 4}
    (row,) = record([{"mode": "raise", **of}])["rows"]
    assert row[:2] == ["raise", "1.000 (0.910 to 1.090)"] and row[-1] == "3, 4"
