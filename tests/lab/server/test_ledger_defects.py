"""Ledger defects of the server lab: what stops the server, and the function that is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared
from triage.lab import versions
from triage.lab.bugs import CATALOGUE
from triage.lab.server import ledger_defects
from triage.lab.server.defects import DEFECTS
from triage.lab.server.ledger_defects import PLANTED


def played(directory: Path, defect: str, checks: str = "all", version: str | None = None):
    if version is not None and version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    done = prepared.python(
        "-m", "tests.lab.server.ledger_child", directory, defect, checks, version=version
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["failures"] == {}
    return found


@pytest.mark.parametrize("version", [None, "0.5.14"])
@pytest.mark.parametrize("defect", PLANTED)
def test_the_evidence_names_the_planted_functions_line(defect, version, tmp_path):
    # GIVEN the defect under SGLang's own requests and tree, and every check
    found = played(tmp_path, defect, version=version)
    # WHEN the first check raises
    (dump,) = found["dumps"]
    # THEN the cause is the right one, and the newest event is the planted function's
    planted = PLANTED[defect]
    assert dump["keys"] == [planted.cause] and dump["confidence"] == "high"
    place = dump["hands"][0].rpartition(" by ")[2]
    assert planted.is_in(place), dump["hands"]
    assert place in found["raised"]


def test_without_a_defect_the_same_load_is_silent(tmp_path):
    found = played(tmp_path, "none")
    assert found["raised"] == "" and found["dumps"] == [] and found["steps"] > 20


def test_only_a_line_of_the_planted_function_is_its_line():
    planted = PLANTED["double-free"]
    first = ledger_defects.free_again.__code__.co_firstlineno
    file = "lab/server/ledger_defects.py"
    assert planted.is_in(f"{file}:{first + 2} free_again")
    for other in (
        f"{file}:{first + 40} free_again",
        f"{file}:{first + 2} free_in_flight",
        f"mem_cache/common.py:{first + 2} free_again",
        "",
    ):
        assert not planted.is_in(other)


def test_both_are_bugs_of_the_catalogue_and_defects_of_a_server():
    assert set(PLANTED) <= set(CATALOGUE) & set(DEFECTS)
    assert {name: CATALOGUE[name].cause for name in PLANTED} == {
        name: planted.cause for name, planted in PLANTED.items()
    }
