"""Defects of a blind round as a server has them: off they are silent, on they are told at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared
from triage.lab import versions

VERSION = "0.5.14"
CAUSES = {"row-zero": "padding-row-given", "write-tail": "foreign-write"}


def played(directory: Path, defect: str, state: str):
    if VERSION not in versions.available():
        pytest.skip(f"SGLang {VERSION} is not unpacked beside the installed one")
    child = ("-m", "tests.lab.server.blind_child", directory, defect, state)
    done = prepared.python(*child, version=VERSION)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["failures"] == {}
    return found


@pytest.mark.parametrize("defect", CAUSES)
def test_the_alarm_comes_in_the_first_step_that_the_defects_own_oracle_calls_wrong(
    defect, tmp_path
):
    found = played(tmp_path, defect, "on")
    assert found["first_wrong"] is not None and found["raised"]
    assert found["raised_step"] == found["first_wrong"]
    assert CAUSES[defect] in found["keys"]


@pytest.mark.parametrize("defect", CAUSES)
def test_before_it_begins_nothing_is_wrong_and_nothing_is_said(defect, tmp_path):
    found = played(tmp_path, defect, "off")
    assert (found["first_wrong"], found["raised"], found["keys"]) == (None, "", [])
    assert found["steps"] > 1
