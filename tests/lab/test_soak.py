"""The false-alarm run: drawn by Hypothesis, kept on disk, and silent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import prepared
from triage.cli import main
from triage.errors import LabError
from triage.lab import versions
from triage.lab.bootstrap import SUPPORTED
from triage.lab.combinations import Combination, breaks_pages, combinations, left_out, pads
from triage.lab.soak import SoakReport, lines_of
from triage.lab.soak_jobs import play, shares

STEPS = 150  # on each release: 900 in all; the record has a hundred thousand


def line(number=0, failure=None, steps=30):
    return {
        "sglang": "0.5.18",
        "number": number,
        "examples": 8,
        "steps": steps,
        "launches": 400,
        "allocator_events": 90,
        "ledger_audits": 640,
        "seconds": 1.5,
        "combinations": 93,
        "settings": {"overlap": 12},
        "cells": [["frozen", 16, "trtllm_mha", steps - 10], ["chunk", 1, "triton", 10]],
        "failure": failure,
    }


def test_every_draft_page_size_and_radix_mode_is_drawn():
    drawn = combinations("0.5.18", swa_radix=True)
    assert {cell.draft for cell in drawn} == {"frozen", "eagle", "ngram", "none"}
    assert {cell.page for cell in drawn} == {1, 16, 32, 64}
    assert {cell.radix for cell in drawn} == {"on", "off", "none"}
    backends = {"trtllm_mha", "triton", "fa3", "flashinfer"}
    assert {cell.backend for cell in drawn} == backends
    # AND every backend over pools of both sorts, page sizes of one among them
    assert {(cell.backend, cell.pool) for cell in drawn} == {
        (backend, pool) for backend in backends for pool in ("swa", "mha")
    }
    # AND no combination that SGLang does not have
    assert not any(cell.page == 1 and cell.backend == "trtllm_mha" for cell in drawn)
    assert not any(cell.draft == "frozen" and cell.backend == "fa3" for cell in drawn)


def test_known_wrong_combinations_are_not_drawn_and_said():
    drawn = combinations("0.5.12.post1", swa_radix=True)
    assert not any(cell.draft == "eagle" and cell.backend == "trtllm_mha" for cell in drawn)
    assert any("I2" in sentence for sentence in left_out("0.5.12.post1"))
    assert len(left_out("0.5.23")) == 2
    # AND windows of broken pages where the unified cache gets them wrong
    unified = Combination("unified", 16, "trtllm_mha")
    assert not breaks_pages(unified, "0.5.18") and breaks_pages(unified, "0.5.23")
    assert any("broken pages" in sentence for sentence in left_out("0.5.18"))
    # AND the graph padding that this release gets wrong
    assert not any(pads(cell, "0.5.12.post1") for cell in drawn)
    assert pads(Combination("frozen", 16, "trtllm_mha"), "0.5.13.post1")


def test_the_summary_adds_up_and_tells_alarms_from_findings():
    alarm = {"error": "I1: x", "oracle": "silent", "script": "state = Lifecycles()"}
    finding = {**alarm, "oracle": "(3, 'two rows own page 4')"}
    report = SoakReport.of([line(0), line(1, alarm), line(2, finding)])
    assert report.steps == 90 and report.searches == 3
    assert ("0.5.18", "trtllm_mha", "swa", 16, "frozen", "none", 60) in report.table()
    assert ("0.5.18", "triton", "swa", 1, "none", "chunk", 30) in report.table()
    # AND says how much of what there is was drawn, and under what
    told = report.json()
    assert told["releases"] == {"0.5.18": {"drawn": 2, "of": 93, "steps": 90}}
    assert told["settings"] == {"overlap": 36} and told["steps_per_second"] == 20.0
    assert len(report.alarms) == len(report.findings) == 1


def test_a_line_cut_short_by_an_interruption_is_dropped_and_the_rest_goes_on(tmp_path):
    output = tmp_path / "soak.jsonl"
    output.write_text(json.dumps(line()) + "\n" + '{"sglang": "0.5', encoding="utf-8")
    assert [found["number"] for found in lines_of(output)] == [0]
    assert output.read_text(encoding="utf-8").endswith("}\n")


def test_another_file_is_refused_with_its_line(tmp_path):
    output = tmp_path / "notes.txt"
    output.write_text("{}\n", encoding="utf-8")
    with pytest.raises(LabError, match="line 1 is not a search"):
        list(lines_of(output))


def test_several_releases_without_a_file_are_refused():
    answer = CliRunner().invoke(main, ["lab", "soak", "--sglang", "all"])
    assert answer.exit_code == 2 and "--output FILE" in answer.output


def test_shares_keep_every_process_busy_and_none_draws_what_another_does(tmp_path):
    # GIVEN six releases and sixteen processes
    releases = tuple(f"0.5.{minor}" for minor in range(12, 18))
    parts = shares(releases, 16, tmp_path / "soak.jsonl")
    # THEN the shares fill whole rounds, equally many a release, each with a file and seeds
    assert len(parts) % 16 == 0
    assert {sum(p.version == v for p in parts) for v in releases} == {len(parts) // 6}
    assert len({part.output for part in parts}) == len({part.number for part in parts})
    # AND one process writes the file that was asked for
    assert {part.output for part in shares(releases, 1, tmp_path / "a")} == {tmp_path / "a"}


@pytest.mark.slow
def test_a_share_that_ends_early_is_told_with_what_it_said(tmp_path):
    # GIVEN a file that is no soak's
    output = tmp_path / "soak.jsonl"
    output.with_name("soak-1.jsonl").write_text("{}\n", encoding="utf-8")
    parts = shares(("0.5.18",), 2, output)
    with pytest.raises(LabError, match=r"share 1 under SGLang 0.5.18 ended with exit code 2"):
        play(parts[1:], 2, 1, 0, tmp_path, "raise", lambda done, total: None)


def soak(version: str, directory: Path, steps: int) -> dict[str, object]:
    command = ("-m", "triage", "lab", "soak", "--steps", steps, "--json", "--dir", directory)
    output = ("--output", directory / "soak.jsonl")
    done = prepared.python(*command, *output, version=version, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("version", SUPPORTED)
def test_nothing_fires(version, tmp_path):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    report = soak(version, tmp_path, STEPS)
    assert report["steps"] >= STEPS and report["alarms"] == report["findings"] == []


@pytest.mark.slow
def test_a_run_asked_for_again_goes_on_where_it_stopped(tmp_path):
    # GIVEN a run that ended after its first search
    first = soak("0.5.18", tmp_path, 1)
    # WHEN a few more steps are asked for THEN only what is missing is played
    more = soak("0.5.18", tmp_path, int(first["steps"]) + 1)
    assert more["searches"] == 2
    lines = list(lines_of(tmp_path / "soak.jsonl"))
    assert [line["number"] for line in lines] == [0, 1]
