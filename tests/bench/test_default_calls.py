"""What the default checks may cost, in numbers that no other job on the machine can change."""

from __future__ import annotations

import json

import pytest

from tests import prepared

STEP = {
    "prepare": 4,  # the shell, before (is anything on its way?), behind
    "run_batch": 2,
    "step": 23,  # with the cheap families' at the allocator and the request table
    "look": 80,  # two looks, of which one is taken every 64 steps
    "launches": 48,  # of two looks; a GPU's host time is these
    "counts": 52,  # of 64 requests: none is entered for each of them
}
EVENTS = {"prefill": 3, "caching": 52, "draft": 5}  # a prefill of 64 requests


def counted(what: str) -> dict[str, int]:
    done = prepared.python("-m", "tests.bench.default_calls_child", what)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(("what", "most"), [("steps", STEP), ("events", EVENTS)])
def test_the_default_checks_make_no_more_calls_than_they_are_allowed(what, most):
    # GIVEN SGLang's own objects, with the hooks of the default bound to them
    found = counted(what)
    # THEN nothing is found wrong with them, which would cost more
    assert found.pop("told", 0) == 0
    # AND no part makes more calls than it may: whoever adds one says so here
    assert found.keys() == most.keys()
    assert {name: n for name, n in found.items() if n > most[name]} == {}
