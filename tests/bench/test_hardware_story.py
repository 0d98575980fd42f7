"""The hardware story is what commands print over the files that a smoke run left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from triage.bench.hardware_story import COMMANDS, story
from triage.lab.server.smoke.results import Results
from triage.lab.server.smoke.summary import summarise

DUMP = Path(__file__).parents[2] / "dumps" / "e4b_stale_swa_state.msgpack"


@pytest.fixture
def evidence(tmp_path) -> Path:
    for job in ("crash-off", "crash-default/dumps"):
        (tmp_path / job).mkdir(parents=True)
    crash = "RuntimeError: CUDA error: an illegal memory access was encountered\n"
    (tmp_path / "crash-off/server.log").write_text(f"started\n{crash}{crash}")
    trap = "triage.errors.StaleSWAState: I1: made up\n  block_tables[0, 0] = 9\n"
    (tmp_path / "crash-default/server.log").write_text(f"started\n{trap}")
    shutil.copy(DUMP, tmp_path / "crash-default/dumps")
    record = summarise(Results(tmp_path / "results.jsonl"), tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(record))
    return tmp_path


def test_every_command_stands_before_what_it_printed(evidence):
    text, whole = story(evidence)

    assert whole
    assert [line for line in text.splitlines() if line.startswith("== ")] == [
        f"== {number}: {command}" for number, command in enumerate(COMMANDS, 1)
    ]
    assert text.count("illegal memory access was encountered") == 1
    assert "SWA state not swapped with the pool" in text
    assert "| false alarms | |" in text


def test_a_run_without_the_crash_is_no_story(evidence):
    (evidence / "crash-off/server.log").write_text("clean\n")
    assert not story(evidence)[1]
