"""A blind round of made-up drivers: one caught, one missed, two broken; none counts as another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared
from triage.errors import LabError
from triage.lab.blind import driver, folder, workload

DRIVERS = Path(__file__).parent / "drivers"
INSTALLED = "0.5.18"


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> dict[str, dict]:
    """What the player of the installed release says of every driver, by name."""
    scratch = tmp_path_factory.mktemp("blind")
    request, results = scratch / "request.json", scratch / "results.jsonl"
    asked = {
        "files": [str(file) for file in folder.drivers_of(DRIVERS)],
        "checks": ["all"],
        "directory": str(scratch / "dumps"),
        "results": str(results),
        "rehearse": False,
    }
    request.write_text(json.dumps(asked))
    done = prepared.python("-m", "triage.lab.blind.player", request)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    return {row["driver"]: row for row in rows}


def test_a_defect_is_caught_at_its_first_wrong_event_and_what_is_named_is_told(played):
    row = played["caught"]
    assert (row["result"], row["delay"], row["false_alarm"]) == ("first wrong event", 0, "")
    assert row["alarm"] and row["named"] and row["confidence"]
    assert Path(row["dump"]).is_file()
    assert row["keyword"] is True  # a word of the author's stands in what was said


def test_a_defect_that_nothing_answers_is_missed(played):
    row = played["missed"]
    assert (row["result"], row["alarm"], row["delay"]) == ("missed", "", None)
    assert "2 was counted for 1" in row["untrapped"]


def test_a_driver_whose_oracle_says_nothing_is_broken_and_never_caught(played):
    row = played["broken"]
    assert row["result"] == "driver broken" and "nothing was harmed" in row["why"]


def test_a_driver_that_ends_its_process_is_broken_and_the_others_are_played(played):
    row = played["ends"]
    assert row["result"] == "driver broken" and "signal 11" in row["why"]
    assert len(played) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", "cannot be imported"),
        ("NAME = REFERENCE = SUBSYSTEM = 'x'", "WHAT has to be a text"),
        ("NAME = REFERENCE = SUBSYSTEM = WHAT = 'x'", "EXPECTED has to be a dict"),
        (
            "NAME = REFERENCE = SUBSYSTEM = WHAT = 'x'\nEXPECTED = {'sentence': 'x'}",
            "has no plant(harmed)",
        ),
    ],
)
def test_a_file_that_is_no_driver_says_what_it_lacks(tmp_path, text, said):
    file = tmp_path / "one.py"
    file.write_text(text)
    with pytest.raises(LabError, match=r"one\.py") as refused:
        driver.read(file)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("line", "releases"),
    [
        ("RELEASES = ('0.5.14', '0.5.18')", ("0.5.14", "0.5.18")),
        ("RELEASES = '0.5.14'", ("0.5.14",)),
        ("RELEASES = tuple(KNOWN)", ("all",)),
        ("", ("all",)),
        ("this is no Python", ("all",)),
    ],
)
def test_the_releases_of_a_driver_are_read_without_running_it(tmp_path, line, releases):
    file = tmp_path / "one.py"
    file.write_text(f"raise SystemExit\n{line}\n" if line.startswith("REL") else line)
    assert driver.releases_of(file) == releases


@pytest.mark.parametrize(
    ("named", "asked", "under"),
    [
        (("0.5.14", "0.5.18"), None, ("0.5.18",)),  # the installed one starts fastest
        (("0.5.23", "0.5.14"), None, ("0.5.23",)),
        (("all",), None, ("0.5.18",)),
        (("0.5.14",), "all", ("0.5.14",)),
        (("all",), "all", ("0.5.14", "0.5.18", "0.5.23")),
        (("0.5.14",), "0.5.23", ("0.5.23",)),
        (("9.9",), None, ("0.5.18",)),
    ],
)
def test_a_driver_is_played_under_the_first_of_its_releases_that_is_here(named, asked, under):
    found = folder._under(named, asked, INSTALLED, ("0.5.14", "0.5.18", "0.5.23"))
    assert tuple(found) == under


def test_the_fields_of_a_workload_change_the_small_run_and_nothing_else():
    small = workload.workload({})
    asked = workload.workload({"cache": "unified", "full_pages": 16, "seed": 3, "overlap": False})
    assert (asked.scenario.cache, asked.scenario.draft) == ("unified", "none")
    assert asked.scenario.geometry.full_pages == 16 and asked.seed == 3 and not asked.overlap
    assert asked.scenario.requests == small.scenario.requests


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pagesize": 16}, "'pagesize'"),
        ({"cache": "radix"}, "'radix'"),
        ({"draft": "medusa"}, "'medusa'"),
        ({"cache": "chunk", "draft": "eagle"}, "no draft"),
        ({"backend": "fa3", "draft": "frozen"}, "fa3"),
    ],
)
def test_a_workload_that_no_lab_plays_is_refused_by_name(fields, said):
    with pytest.raises(LabError, match=said):
        workload.workload(fields)


def test_a_folder_without_a_driver_says_what_goes_into_it(tmp_path):
    with pytest.raises(LabError, match="blind-round"):
        folder.drivers_of(tmp_path)
