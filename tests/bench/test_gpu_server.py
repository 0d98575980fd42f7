"""Cells of real servers from the command line, on a scripted SGLang; their table and record."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.lab.server.conftest import FakeMachine, machine  # noqa: F401 (a fixture)
from triage.bench.cells_table import counted, markdown
from triage.bench.gpu_server import joined
from triage.lab.server.cells import CAUSES, CELLS, RELEASES
from triage.lab.server.defects import DEFECTS
from triage.lab.server.smoke.results import Cell, Results

OFF, ON, REFUSED = "0.5.14-no-radix-off", "0.5.14-no-radix-contain", "0.5.14-mtp-eager-refused"


def cells(fake: FakeMachine, out: Path, *names: str) -> subprocess.CompletedProcess[str]:
    given = ["--out", str(out), "--work", str(fake.state / "work"), "--port", str(fake.port)]
    for name in names:
        given += ["--only", name]
    return subprocess.run(
        [sys.executable, "-m", "triage.bench.gpu_server", "--budget-s", "400", *given],
        env={**fake.environment, "HOME": str(fake.state)},
        capture_output=True,
        text=True,
        timeout=450,
    )


def rows(record: Path) -> dict[str, list[str]]:
    table = [line[2:-2].split(" | ") for line in markdown(record).splitlines()]
    return {row[0]: row[1:] for row in table}


@pytest.mark.slow
def test_a_pair_of_cells_is_compared_kept_with_its_log_and_not_played_again(machine, tmp_path):  # noqa: F811
    # GIVEN a server whose defect nobody notices
    out = tmp_path / "cells"
    done = cells(machine, out, OFF, ON)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    # THEN what it is and what it answered are lines, and the absent alarm is said
    found = rows(out / "results.jsonl")
    assert found[ON][1] == "96 of 96"
    assert "aborted, no alarm" in found[ON][2]
    assert "DID NOT HOLD: the server lives: no alarm" in found[ON][3]
    assert "sglang 0.5.14" in found["machine of 0.5.14"][0]
    assert counted(out / "results.jsonl") == (500, 0)
    # AND its flags are the axis', its log is kept
    assert "--disable-radix-cache" in machine.told("arguments")
    with tarfile.open(out / "cells" / f"{ON}.tar.xz") as tar:
        assert "server.log" in tar.getnames()
    # WHEN it is run again THEN nothing is played again
    again = cells(machine, out, OFF, ON)
    assert f"{ON}: done before" in again.stdout and machine.left() == []


def test_what_sglang_refuses_holds_its_own_error(machine, tmp_path):  # noqa: F811
    machine.environment["FAKE_SERVER"] = "dies"
    out = tmp_path / "cells"
    done = cells(machine, out, REFUSED)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = rows(out / "results.jsonl")[REFUSED][0]
    assert said.startswith("refused by SGLang: ") and "only supports trtllm_mha" in said


def test_a_release_without_cells_is_one_sentence(machine, tmp_path):  # noqa: F811
    site = tmp_path / "site"
    information = site / "sglang-0.5.16.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: sglang\nVersion: 0.5.16\n")
    path = machine.environment["PYTHONPATH"]
    machine.environment["PYTHONPATH"] = f"{site}{os.pathsep}{path}"
    done = cells(machine, tmp_path / "cells")
    assert done.returncode == 3 and "no cells of SGLang 0.5.16" in done.stderr


def test_nothing_is_played_yet_where_there_is_no_record(tmp_path):
    found = rows(tmp_path / "none.jsonl")
    assert {row[0] for name, row in found.items() if name in {c.job.name for c in CELLS}} == {
        "not played yet"
    }
    assert found["all mixed loads"][2] == "0 of 20000 requests, 0 alarms"


def test_requests_are_counted_over_every_run_and_the_last_one_stands(tmp_path):
    record = tmp_path / "results.jsonl"
    results = Results(record)
    results.add(Cell(ON, "mixed", False, "a dump", figures={"ok": 9, "aborted": 1, "dumps": [1]}))
    results.add(Cell(ON, "mixed", True, figures={"ok": 440, "aborted": 60, "dumps": []}))
    results.add(Cell(ON, "mixed", True, figures={"ok": 441, "aborted": 59, "dumps": []}))
    results.add(Cell(ON, "alarm", None, "the budget | was spent"))
    assert counted(record) == (1000, 1)
    assert rows(record)[ON][2:] == [
        "441 answered, 59 aborted, no alarm",
        "not played yet: the budget \\| was spent",
    ]
    # AND a run's lines join the record once
    stored = tmp_path / "logs" / "stored.jsonl"
    lines = record.read_text().splitlines()
    assert (joined(stored, lines), joined(stored, lines)) == (4, 0)
    assert counted(stored) == (1000, 1)


def test_alarms_are_in_the_oracles_step_and_say_their_name(tmp_path):
    record = tmp_path / "results.jsonl"
    figures = {
        "oracle": {"first_wrong": 18, "raised": 18},
        "dumps": [{"keys": ["exchanged-pages"]}],
    }
    results = Results(record)
    results.add(Cell(ON, "alarm", True, figures=figures))
    results.add(Cell("0.5.14-target-log", "logged", True, figures=figures))
    assert rows(record)[ON][3] == "alarm in step 18, as the oracle says; exchanged-pages"
    assert rows(record)["0.5.14-target-log"][3].startswith("logged in step 18")


def test_every_cell_has_a_name_of_its_own_a_known_defect_and_a_pair_to_be_compared_with():
    names = [each.job.name for each in CELLS]
    assert len(set(names)) == len(names)
    assert {each.release for each in CELLS} == set(RELEASES)
    assert set(CAUSES) <= set(DEFECTS)
    for each in CELLS:
        assert set(each.job.defects) <= set(DEFECTS)
        assert not each.like or each.like in names, each.job.name


def test_a_release_is_started_with_what_it_needs_and_refused_where_it_cannot_start():
    mine = [each for each in CELLS if each.release == "0.5.12.post1"]
    refused = {each.axis.name for each in mine if each.mode == "refused"}
    # GIVEN 0.5.12.post1, which cannot load the draft, move an ngram chain in SWA pools or
    # capture piecewise graphs where layers share keys and values
    assert refused == {"mtp", "ngram", "piecewise"}
    # THEN nothing else is played on those axes, and no other cell leaves the flag out
    for each in mine:
        assert (each.axis.name in refused) == (each.mode == "refused")
        without = "--disable-piecewise-cuda-graph" not in each.job.flags
        assert without == (each.axis.name == "piecewise"), each.job.name
    # AND elsewhere the graphs are captured as SGLang captures them
    others = [each for each in CELLS if each.release != "0.5.12.post1"]
    assert not any("--disable-piecewise-cuda-graph" in each.job.flags for each in others)


def test_mappings_that_outlive_their_page_are_played_where_drafts_are_rejected():
    # GIVEN the cells of a release that clears the mapping by token
    cells = [each for each in CELLS if "stale-mapping" in each.job.name]
    assert [each.release for each in cells] == ["0.5.13.post1", "0.5.13.post1"]
    for each in cells:
        # THEN a draft runs whose rejected tokens stay mapped in a page that is partly used
        assert each.job.mtp, each.job.name
        # AND the check that sees it is on: the ledger's, of every check
        assert each.job.env["SGLANG_TRTLLM_MHA_DEBUG_CHECKS"] == "all"
