"""From a wish to a plan and a result, without a process."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest

from triage.lab.server import plugin_folder, session
from triage.lab.server.load import LoadResult, RequestResult
from triage.lab.server.machine import CannotServe, Gpu, Machine
from triage.lab.server.result import ExplainedDump, Served
from triage.lab.server.server_log import activity

GIB = 2**30
H200 = Machine(Gpu("NVIDIA H200", (9, 0), 139 * GIB, 140 * GIB), "0.5.14", "0.6.12")
B200 = replace(H200, gpu=replace(H200.gpu, name="NVIDIA B200", capability=(10, 0)))


def wish(tmp_path: Path, **more) -> session.Wish:
    return session.Wish("E4B", tmp_path, **more)


def test_the_plan_says_what_is_served_and_each_reason(tmp_path):
    told = session.plan(
        wish(tmp_path, mtp=True, small=True, fixes=("state-swap",)), H200
    ).sentences()
    assert told[0] == "E4B (small) on NVIDIA H200 (sm_90), SGLang 0.5.14"
    text = "\n".join(told)
    assert "global_head_dim is 256 instead of 512" in text
    assert "FlashInfer's XQA decodes on sm_90" in text
    assert "SGLANG_TRIAGE_FIXES=state-swap" in text


def test_a_blackwell_serves_true_head_sizes_through_trtllm_gen(tmp_path):
    plan = session.plan(wish(tmp_path, mtp=True), B200)
    assert plan.head_dim_limit is None
    assert plan.dimensions.head_dim == (256, 512)
    assert plan.server_flags[:2] == ["--attention-backend", "trtllm_mha"]


def test_a_model_larger_than_the_free_memory_is_refused_before_it_is_written(tmp_path):
    less = replace(H200, gpu=replace(H200.gpu, free=40 * GIB))
    with pytest.raises(CannotServe, match=r"40\.0 of 140\.0 GiB free, .* needs about 74"):
        session.plan(session.Wish("31B", tmp_path), less)
    session.plan(session.Wish("31B", tmp_path, small=True), less)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "debug", "named"),
    [("default", "1", None), ("off", None, None), ("contain", "1", "contain")],
)
def test_a_mode_is_the_variables_a_user_would_set(tmp_path, mode, debug, named):
    variables = session.plan(wish(tmp_path, mode=mode), H200).environment
    assert variables["SGLANG_TRTLLM_MHA_DEBUG"] == debug
    assert variables["SGLANG_TRTLLM_MHA_DEBUG_MODE"] == named
    assert ("SGLANG_TRTLLM_MHA_DEBUG_DIR" in variables) == (mode != "off")


def test_our_plugin_is_put_on_the_path_only_where_nothing_installed_brings_it(
    tmp_path, monkeypatch
):
    plan = session.plan(wish(tmp_path, defect="stale-swa-state"), H200)
    # GIVEN an environment with sglang-triage installed, and one with a checkout on its path
    ours = importlib.metadata.EntryPoint("sglang_triage", "triage.plugin:register", "g")
    found: list[importlib.metadata.EntryPoint] = [ours]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: found)
    assert [folder.name for folder in session.plugins(plan)] == ["stale-swa-state"]
    found.clear()
    folders = session.plugins(plan)
    # THEN the checkout is made known, behind the defect, which must lie below our hooks
    assert [folder.name for folder in folders] == ["stale-swa-state", "triage"]
    (points,) = folders[-1].glob("*.dist-info/entry_points.txt")
    assert plugin_folder.GROUP in points.read_text()


WATCHED = "sglang-triage: watching cuda:0; recorder 1.0 MiB\n"
PLUGIN_FAILED = "Failed to execute general plugin: aa_lab_stale_swa_state\n"
LOAD = LoadResult("plain", 1, (RequestResult(0, "ok", 4, (7, 8)),), 0.5)


def served(**more) -> Served:
    base = Served(
        shape="E4B", small=True, mtp=True, defect=None, mode="default", fixes=(),
        gpu="NVIDIA H200", arch="sm_90", sglang="0.5.14", flashinfer="0.6.12",
        server_flags=(), notes=(), startup_s=50.0, load=LOAD, activity=activity("", 1024),
        death="", log_path=Path("server.log"),
        log=WATCHED, dumps=(),
    )  # fmt: skip
    return replace(base, **more)


FAULT = "CUDA error: an illegal memory access was encountered"
FAILED = replace(LOAD, results=(RequestResult(0, "failed", 4, error="503"),))


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({}, "clean"),
        ({"mode": "off", "log": ""}, "clean"),
        ({"log": ""}, "unguarded"),
        ({"log": "sglang-triage is NOT active on SGLang 0.5.14: not bound"}, "unguarded"),
        ({"defect": "stale-swa-state", "log": WATCHED + PLUGIN_FAILED}, "no defect"),
        ({"defect": "stale-swa-state"}, "clean"),
        ({"load": FAILED}, "failed"),
        ({"load": replace(LOAD, requests=2)}, "failed"),
        ({"death": "Killed"}, "died"),
        ({"death": FAULT, "log": FAULT}, "fault"),
        ({"death": FAULT, "log": FAULT, "dumps": (ExplainedDump(Path("d"), "I2"),)}, "trapped"),
        ({"death": FAULT, "log": FAULT, "dumps": (ExplainedDump(Path("crash")),)}, "fault"),
        ({"load": None, "interrupted": True}, "interrupted"),
    ],
)
def test_the_outcome_is_the_strongest_evidence(more, outcome):
    result = served(**more)
    assert result.outcome == outcome
    assert result.exit_code == (0 if outcome == "clean" else 1)
    assert result.json()["outcome"] == outcome


def test_what_the_plugin_said_in_the_log_is_told_once():
    log = "\n".join(
        [
            "[1] sglang-triage: watching cuda:0; recorder 1.0 MiB",
            "[1] sglang-triage does not cover verify: it runs through triton",
            "[2] sglang-triage does not cover verify: it runs through triton",
        ]
    )
    assert served(log=log).remarks == ["does not cover verify: it runs through triton"]
