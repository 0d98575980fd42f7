"""Hooks of other plugins on the same targets, in SGLang's own registry: ours bind beside them."""

from __future__ import annotations

import json
import os

import pytest

from tests import prepared
from tests.torture.plugins_child import CLASS, KINDS
from triage.lab import versions
from triage.lab.bootstrap import SUPPORTED, sglang_version

SLOW = pytest.mark.slow


def played(version, mode, kinds):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    command = ("-m", "tests.torture.plugins_child", mode, *kinds)
    done = prepared.python(*command, version=version, timeout=1200)
    cells = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cells) == 4 + 2 * len(kinds), done.stderr[-2000:]
    return cells


AT_LENGTH = pytest.mark.skipif(
    not os.environ.get("TORTURE"), reason="minutes a release: make torture plays it"
)
CELLS = [
    (sglang_version(), "raise", ["AROUND"]),
    pytest.param(SUPPORTED[0], "raise", ["AROUND", "REPLACE"], marks=SLOW),
    pytest.param(sglang_version(), "contain", [*KINDS, CLASS], marks=AT_LENGTH),
    *(pytest.param(version, "raise", [*KINDS, CLASS], marks=AT_LENGTH) for version in SUPPORTED),
]


@pytest.mark.parametrize(("version", "mode", "kinds"), CELLS)
def test_hooks_of_another_plugin_on_every_target_of_ours_change_nothing(version, mode, kinds):
    plain, ours, *beside, strict, lenient = played(version, mode, kinds)
    assert ours["spoiled"]["trapped"] and ours["run"]["digest"] == plain["run"]["digest"]
    for cell in beside:
        # GIVEN a hook of theirs on each of our targets, all of ours are bound
        assert cell["bound"] == cell["wanted"] >= 30, cell
        # THEN SGLang does what it does without us, and they are called as often
        for key in ("outcome", "digest", "launches"):
            assert cell["run"][key] == plain["run"][key], cell
        assert cell["calls"] == cell["theirs_alone"] and sum(cell["calls"].values()) > 10, cell
        # AND we look at the same, and find the same defect at the same launch
        assert cell["counts"] == ours["counts"] and not cell["run"]["not_covered"], cell
        for key in ("outcome", "trapped", "digest", "launches"):
            assert cell["spoiled"][key] == ours["spoiled"][key], cell
    # GIVEN a plugin that applies all hooks by itself, so that SGLang passes over ours
    # THEN the server does not start, or it starts with everything of ours off, and that is said
    assert "not bound" in strict["ended"]
    assert (lenient["armed"], lenient["active"], lenient["said"]) == (False, False, True)
    for key in ("outcome", "digest", "launches"):
        assert lenient["run"][key] == plain["run"][key]
