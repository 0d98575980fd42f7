"""What a lock keeps is not freed by a unified tree's insert (I17): told from host integers."""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.invariants.found import Found


@pytest.mark.parametrize(
    ("mode", "checks"),
    [
        ("contain", "default"),
        pytest.param("raise", "default", marks=pytest.mark.slow),
    ],
)
def test_an_insert_that_frees_what_a_lock_keeps_is_told(tmp_path, mode, checks):
    done = prepared.python(
        "-m", "tests.sglang.locked_overlap_child", tmp_path, mode, checks, version="0.5.18"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    sound, harmed, kind = told["sound"], told["harmed"], str(Found.FREED_WHILE_LOCKED)
    # GIVEN a sound run whose inserts pass nodes, locked ones among them
    assert sound["passed"] > 10
    # THEN nothing is said of it
    assert not sound["told"] and not sound["trapped"] and not sound["harmed"]
    # AND where an insert looks at no lock it is logged once, with a dump that names the cause
    assert harmed["harmed"] >= 1 and harmed["told"].count(kind) == 1
    assert harmed["named"][harmed["told"].index(kind)] == "locked-prefix-freed"
    assert harmed["trapped"] != kind
    assert not sound["internal"] and not harmed["internal"]
