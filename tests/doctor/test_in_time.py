"""An answer in time: by SGLang's source where its import takes longer, and only there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.doctor import machines
from tests.doctor.machines import machine
from triage.doctor.in_time import ask_within

SLOW = machines.HANGS


@pytest.fixture
def installed() -> Path:
    found = importlib.util.find_spec("sglang")
    if found is None or found.origin is None:
        pytest.skip("SGLang is not installed")
    return Path(found.origin).parents[1]


def test_an_import_that_takes_too_long_is_answered_by_the_source(tmp_path, installed):
    # GIVEN an SGLang whose import does not end WHEN the doctor is to answer within a second
    stages = ask_within(machine(tmp_path, sglang=SLOW), installed, within_s=1, timeout_s=100)
    # THEN what binds was read from its source, it says so, and every hook is there
    assert (stages["sglang"]["state"], stages["sglang"]["late_s"]) == ("read", 1)
    assert stages["bind"]["active"] and len(stages["bind"]["hooks"]) > 50
    assert stages["torch"]["state"] == "found" and stages["requested"]["state"] == "not waited for"


def test_an_import_that_ends_in_time_is_the_answer(tmp_path, installed):
    made = machine(tmp_path, torch=machines.TORCH, sglang=machines.BROKEN_SGLANG)
    stages = ask_within(made, installed, within_s=60)
    assert "Sampler" in stages["sglang"]["reason"] and "late_s" not in stages["sglang"]


def test_where_the_source_cannot_be_read_either_the_import_is_waited_for(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    slow = "import time; time.sleep(4)\n" + machines.BROKEN_SGLANG
    made = machine(tmp_path, torch=machines.TORCH, sglang=slow)
    stages = ask_within(made, empty, within_s=0.1)
    assert "Sampler" in stages["sglang"]["reason"]
