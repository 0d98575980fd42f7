"""Modes contain and log around SGLang's real classes, the kernel emulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sglang.conftest import VERSIONS
from triage.dump.file import read_dump
from triage.dump.history import since
from triage.explain import explain
from triage.replay.deduction import deduce
from triage.replay.verdict import Outcome

STALE = ("--reinject", "stale-swa-state")


@pytest.mark.parametrize("version", VERSIONS)
def test_contain_raises_before_the_steps_tokens_are_accepted_and_nothing_faults(lab, version):
    # GIVEN the run that faults without traps, seen by bounds alone, so that it goes on until then
    report = lab(version, *STALE, "--mode", "contain", "--checks", "I1")
    # THEN the launch that would have faulted was contained
    assert report["outcome"] == "contained" and report["fault"] is None
    assert "output of this step is invalid" in report["trapped"]["message"]
    assert report["launches"] > lab(version, *STALE, "--no-trap")["fault"]["launch"]


@pytest.mark.parametrize("version", VERSIONS)
def test_contain_finds_the_first_wrong_step_and_its_dump_is_explained(lab, version):
    report = lab(version, *STALE, "--mode", "contain")
    assert report["outcome"] == "contained"
    assert report["trapped"]["error"] == "StaleSWAState"
    dump = read_dump(Path(report["trapped"]["dump"]))
    assert [cause.key for cause in explain(dump).named] == ["stale-swa-state"]
    # AND it holds the launch as it was, so that the emulator finds what the lab's oracle found
    assert dump.tables is not None and "flight recorder" in dump.tables.source
    verdict = deduce(dump)
    assert verdict.outcome is Outcome.REPRODUCED
    assert verdict.figures["identity"]["wrong"] == report["first_wrong"]["entries"]
    assert dump.launch is not None and dump.launch.layer_id == report["first_wrong"]["layer_id"]
    assert any("no req_to_token" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("version", VERSIONS)
def test_contain_alters_nothing_of_a_correct_sglang(lab, version):
    # THEN every launch reads the same tables as without traps
    watched, bare = lab(version, "--mode", "contain"), lab(version, "--no-trap")
    assert watched["outcome"] == "clean"
    assert watched["tables_digest"] == bare["tables_digest"]
    counts = watched["trap_counts"]
    assert counts["tables"] < counts["launches"] / 5 and "launches not covered" not in counts


def test_log_never_raises_and_the_ring_has_the_evidence(lab):
    report = lab("0.5.18", *STALE, "--mode", "log")
    assert report["outcome"] == "fault"
    dump = read_dump(Path(report["ring"]))
    assert "ids were wrong since launch" in since(dump) and "before the fault" in since(dump)
    assert [cause.key for cause in explain(dump).named] == ["stale-swa-state"]
