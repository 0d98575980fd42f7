"""What a command costs before it says something: CPU seconds of a new process, the best of three.

The promise is 0.1 s for --help, 0.3 s for show and explain, 2 s for a report and 5 s for one of
a large table, on a quiet machine; here half as much again, for a busy one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.inputs import large
from triage.dump.file import write_dump

DUMP = Path(__file__).resolve().parents[2] / "dumps" / "e4b_out_of_range.msgpack"
SLACK = 1.5


def cpu_seconds(*arguments: object) -> float:
    """User and system time of one run, its children included."""
    child = subprocess.Popen(
        [sys.executable, "-m", "triage", *map(str, arguments)], stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [(["--help"], 0.1), (["show", DUMP], 0.3), (["explain", DUMP], 0.3)],
    ids=["help", "show", "explain"],
)
def test_a_command_starts_quickly(arguments, seconds):
    assert min(cpu_seconds(*arguments) for _ in range(3)) < seconds * SLACK


def test_a_report_is_made_quickly(tmp_path):
    for name, dump, seconds in (
        ("usual", DUMP, 2.0),
        ("large", write_dump(large(), tmp_path, name="large.msgpack"), 5.0),
    ):
        assert cpu_seconds("report", dump, "-o", tmp_path / f"{name}.html") < seconds * SLACK
