"""Between two steps, on SGLang's real classes: leaks, locks, and rows that spill are named."""

from __future__ import annotations

import functools
import json

import pytest

from tests import prepared
from triage.lab import versions
from triage.lab.bugs.step_books import STEP_BOOKS

QUICK = ("last-page-left-behind-older-tree", "lock-not-given-back", "evicted-though-locked")
"""One of each kind: a leak under overlap, a lock, a free under a request."""

PLAYED = [
    pytest.param(bug, id=bug.name, marks=() if bug.name in QUICK else pytest.mark.slow)
    for bug in STEP_BOOKS
]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """`played(bug)` -> what the child says of it; the quick ones share a process."""
    directory = tmp_path_factory.mktemp("books")

    @functools.cache
    def child(*names):
        done = prepared.python("-m", "tests.ledger.books_child", directory, *names)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    rest = tuple(bug.name for bug in STEP_BOOKS if bug.name not in QUICK)
    return lambda bug: child(*(QUICK if bug.name in QUICK else rest))[bug.name]


@pytest.mark.parametrize("bug", PLAYED)
def test_what_no_single_call_shows_is_seen_between_two_steps_and_named(played, bug):
    found = played(bug)
    assert found["applies"] == ""
    # WHEN it is played under every trap THEN the invariant of its kind answers
    assert found["seen"]["alarm"] in bug.invariants, found["seen"]["summary"]
    # AND the explanation names it
    assert found["explained"][0] == "right", found["explained"]


@pytest.mark.parametrize("bug", PLAYED)
def test_the_same_workload_without_it_balances_at_every_step(played, bug):
    found = played(bug)
    assert (found["healthy"]["alarm"], found["healthy"]["ended"]) == ("", "clean")
    # AND the silence is not that of a check that had nothing to look at
    assert found["counts"]["pools between steps"] > 20
    if bug.scenario.cache:
        assert found["counts"]["trees with every holder known"] > 20
    assert "internal errors" not in found["counts"]


def test_a_lock_is_missed_in_a_compiled_tree_too(tmp_path):
    # GIVEN SGLang 0.5.23, whose tree lives in a compiled core: it shows paths and locked tokens
    version = "0.5.23"
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    done = prepared.python(
        "-m", "tests.ledger.books_child", tmp_path, "lock-not-given-back", version=version
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])["lock-not-given-back"]
    # THEN the lock that stays is told and named
    assert found["applies"] == "" and found["seen"]["alarm"] == "I16", found["seen"]
    assert found["explained"] == ["right", "lock-imbalance"]
    # AND a sound run balances at every step, with every holder known
    assert (found["healthy"]["alarm"], found["healthy"]["ended"]) == ("", "clean")
    assert found["counts"]["trees with every holder known"] > 20
    # AND what the core does not show is said
    assert "tree locks of a compiled core (I16)" in found["not covered"]
