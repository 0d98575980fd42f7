"""Hooks of other plugins on the same targets, in SGLang's own registry: ours bind beside them."""

from __future__ import annotations

import os

import pytest

from tests import prepared
from tests.torture.long import beside_plugins
from tests.torture.plugins_child import CLASS, KINDS, MIXED, wrong_in
from triage.lab import versions
from triage.lab.bootstrap import SUPPORTED, sglang_version

SLOW = pytest.mark.slow
AT_LENGTH = pytest.mark.skipif(
    not os.environ.get("TORTURE"), reason="minutes a release: TORTURE=1 plays it"
)
MODES = ("raise", "contain", "log")
CASES = [
    (sglang_version(), ["raise"], [MIXED]),
    *(pytest.param(version, ["contain"], [MIXED], marks=SLOW) for version in SUPPORTED),
    *(pytest.param(version, MODES, [*KINDS, CLASS], marks=AT_LENGTH) for version in SUPPORTED),
]


@pytest.mark.parametrize(("version", "modes", "kinds"), CASES)
def test_hooks_of_another_plugin_on_every_target_of_ours_change_nothing(version, modes, kinds):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    command = ("-m", "tests.torture.plugins_child", ",".join(modes), *kinds)
    done = prepared.python(*command, version=version, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    # GIVEN ours alone, THEN SGLang does what it does without us, and a defect is found
    # GIVEN a hook of theirs on each of our targets, before or after ours, THEN all of ours are
    # bound, SGLang does the same and calls theirs as often, we look at the same and find the
    # same defect at the same launch
    # GIVEN a plugin that applies all hooks by itself, so that SGLang passes over ours, THEN the
    # server does not start, or starts with everything of ours off, and that is said
    cells = len(modes) * (1 + 2 * len(kinds)) + 2
    assert beside_plugins(done.stdout) == {"cells": cells, "wrong": {}}


def test_a_cell_that_lost_a_hook_a_call_or_a_defect_is_told():
    run = {"outcome": "clean", "digest": "a", "launches": 9}
    plain = {"cell": "without us", "run": run}
    spoiled = {"outcome": "trapped", "digest": "b", "launches": 5, "trapped": "StaleSWAState"}
    looked = {"counts": {"launches": 9}, "bound": 40, "wanted": 40, "spoiled": spoiled}
    ours = {"cell": "ours alone", "mode": "raise", "run": {**run, "not_covered": []}, **looked}
    calls = {"calls": {"a target": 11}, "alone": {"a target": 11}}
    beside = {**ours, **calls, "cell": "AROUND before ours"}
    assert wrong_in(ours, plain) == wrong_in(beside, plain, ours) == {}
    for spoil, told in (
        ({"bound": 39}, "hooks of ours that are bound"),
        ({"calls": {"a target": 10}}, "calls of their hooks"),
        ({"counts": {"launches": 8}}, "what we looked at"),
        ({"run": {**ours["run"], "digest": "c"}}, "SGLang without a defect: digest"),
        ({"spoiled": {**spoiled, "trapped": None}}, "with a defect: trapped"),
    ):
        wrong = wrong_in({**beside, **spoil}, plain, ours)
        assert told in wrong, (spoil, wrong)
    assert "the defect is not found" in wrong_in({**ours, "spoiled": {}}, plain)
    died = {"cell": "CLASS before ours", "mode": "raise", "alone": {}, "raised": "ended"}
    assert len(wrong_in(died, plain, ours)) > 5
