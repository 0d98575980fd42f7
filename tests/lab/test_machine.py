"""The state machine: a failure is shrunk to a script, and the oracles say what it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared

CHILD = Path(__file__).with_name("machine_child.py")


@pytest.mark.slow
def test_a_defect_is_shrunk_to_a_short_script_and_called_a_finding(tmp_path):
    # GIVEN a builder that leaves full-pool ids in the window
    done = prepared.python(CHILD, tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    failure = json.loads(done.stdout.splitlines()[-1])
    # THEN the trap's sentence and a script of few calls are kept
    assert failure["error"].startswith("WrongIndexSpace: I2")
    calls = [line for line in failure["script"].splitlines() if line.startswith("state.")]
    assert 2 <= len(calls) <= 8 and "Combination(kind='none', page=16, backend='fa3')" in calls[0]
    # AND the oracles, asked without traps, agree: a finding and no false alarm
    assert failure["oracle"] != "silent"
