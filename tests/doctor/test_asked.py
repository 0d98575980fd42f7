"""What `triage doctor` is asked with: refused whole, understood as written, not made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doctor import machines
from tests.doctor.machines import machine
from tests.doctor.test_doctor import doctor
from triage import config


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    return machine(tmp_path, absent=["sglang"], torch=machines.TORCH)


@pytest.mark.parametrize(
    ("name", "value", "last"),
    [
        ("SGLANG_TRTLLM_MHA_DEBUG_MOD", "contain", config.MM_GRAPHS),
        ("SGLANG_TRTLLM_MHA_DEBUG_CHECKS", "I99", "I1 to I29"),
    ],
)
def test_a_refusal_is_whole_and_said_once(bare, name, value, last):
    lines = doctor({**bare, name: value}).stdout.splitlines()

    assert lines[0].startswith("BAD ENVIRONMENT") and lines[0].endswith(last)
    assert not any(line.startswith(f"environment: {name}=") for line in lines)


@pytest.mark.parametrize("typed", ["sm100", "100", "SM_100", "sm_100a"])
def test_an_architecture_is_understood_as_it_is_written(bare, typed):
    assert "launches on sm_100 (not here)" in doctor(bare, "--arch", typed).stdout


def test_what_is_no_architecture_is_refused(bare):
    ran = doctor(bare, "--arch", "blackwell")
    assert ran.returncode == 2 and "such as sm_80" in ran.stderr


def test_checks_are_not_said_to_be_asked_for_where_nothing_is(bare):
    assert "\nchecks once armed: I1, " in doctor(bare).stdout
    assert "\nchecks asked for: I1, " in doctor({**bare, config.DEBUG: "1"}).stdout
