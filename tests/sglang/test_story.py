"""The story of sgl-project/sglang#26957 inside SGLang's real classes, on two releases."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.sglang.conftest import VERSIONS
from triage.cli import main
from triage.dump.file import read_dump

pytestmark = pytest.mark.parametrize("version", VERSIONS)
DEFECT = ("--reinject", "stale-swa-state")


def test_a_correct_sglang_runs_to_the_end_with_traps_on(lab, version):
    report = lab(version)
    assert report["outcome"] == "clean"
    assert report["finished"] == report["requests"] == 8
    assert report["trap_counts"]["launches"] == report["launches"] > 1000
    assert report["trap_counts"]["tables"] > 0


def test_without_a_trap_wrong_ids_are_read_long_before_the_fault(lab, version):
    report = lab(version, *DEFECT, "--no-trap")
    assert report["outcome"] == "fault"
    assert report["first_wrong"]["launch"] < report["fault"]["launch"]
    assert report["first_wrong"]["role"] == report["fault"]["role"] == "draft"
    assert report["fault"]["space"] == "swa"
    assert report["wrong_launches"] > 1


def test_the_trap_stops_at_the_first_launch_that_would_read_wrong_ids(lab, version):
    unguarded = lab(version, *DEFECT, "--no-trap")
    trapped = lab(version, *DEFECT)["trapped"]
    assert trapped["error"] == "StaleSWAState"
    assert trapped["launch"] == unguarded["first_wrong"]["launch"]
    for part in ("layer 7", "swa pool", "block_tables[", "expected", "of request", "dump: "):
        assert part in trapped["message"]
    assert "next: triage explain" in trapped["message"]


def test_the_fix_gives_the_tables_of_an_sglang_without_the_defect(lab, version):
    healthy = lab(version)
    fixed = lab(version, *DEFECT, "--fix", "state-swap")
    assert fixed["outcome"] == "clean"
    assert fixed["fix_counts"]["state-swap"] > 0
    assert fixed["tables_digest"] == healthy["tables_digest"]
    assert fixed["launches"] == healthy["launches"]


def test_the_dump_is_explained_and_the_right_fix_ends_the_fault(lab, version):
    path = lab(version, *DEFECT)["trapped"]["dump"]
    invoke = CliRunner().invoke
    explained = invoke(main, ["explain", path])
    assert explained.exit_code == 0
    assert "SWA state not swapped with the pool" in explained.output
    assert "sglang/issues/26957" in explained.output
    assert "SGLANG_TRIAGE_FIXES=state-swap" in explained.output
    assert invoke(main, ["replay", path, "--kernel", "emulator"]).exit_code == 1
    fixed = invoke(main, ["replay", path, "--kernel", "emulator", "--fix", "state-swap"])
    assert "NOT_REPRODUCED" in fixed.output


def test_the_dump_holds_what_the_launch_was_told(lab, version):
    dump = read_dump(Path(lab(version, *DEFECT)["trapped"]["dump"]))
    assert dump.launch is not None and dump.tables is not None
    assert dump.backend is not None and dump.pools is not None
    assert dump.launch.layer_id == 7 and dump.launch.window_left == 47
    assert dump.launch.num_pages == 35
    assert dump.backend.role == "draft"
    assert dump.backend.swa_state["_swa_kv_pool"] == "None"
    assert dump.backend.init_pool_class == "MHATokenToKVPool"
    assert (dump.pools.read, dump.pools.table_space) == ("swa", "full")
    assert dump.provenance["versions"]["sglang"] == version
    assert dump.tables.mapping is not None and len(dump.tables.mapping)


def test_host_reads_do_not_grow_with_layers(lab, version):
    counts = lab(version)["trap_counts"]
    steps = lab(version)["steps"]
    per_step = (counts["host reads"] - counts["tables"] - counts["allocations"]) / steps
    assert per_step == 0
    # draft 1, verify 1, alloc 1; prefill forwards add their own
    prefills = 8 * 2
    assert counts["host reads"] <= 3 * steps + 2 * prefills
