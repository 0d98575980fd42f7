"""FlashInfer's replay beside ours: a named skip without it, its own words with it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from triage.bench import __main__ as bench
from triage.bench import flashinfer_replay


def test_without_flashinfer_the_figure_is_a_named_skip_and_no_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    ran = CliRunner().invoke(
        bench.main, ["flashinfer-replay", "--json", str(tmp_path / "figures.json")]
    )

    assert "skipped: flashinfer-python is not installed" in ran.output
    assert " ok " not in ran.output
    (figure,) = json.loads((tmp_path / "figures.json").read_text())
    assert figure["value"] is None and figure["met"] is None


API_LOGGING = """
import json, pathlib
def replay_from_dump(path, compare_outputs, device, run):
    from flashinfer import decode
    assert (compare_outputs, device, run) == (True, "cpu", True)
    try:
        decode.trtllm_batch_decode_with_kv_cache(query=None)
    except ValueError as error:
        return {"execution_error": str(error)}
    return {"comparison_match": True}
"""
DECODE = """
import os, pathlib, shutil
def get_compute_capability(device): raise ValueError("no CUDA here")
def get_device_sm_count(device): raise ValueError("no CUDA here")
def device_support_pdl(device): raise ValueError("no CUDA here")
def get_trtllm_gen_fmha_module(): raise ValueError("no CUDA here")
def trtllm_batch_decode_with_kv_cache(**kwargs):
    if os.environ["FLASHINFER_LOGLEVEL"] == "10":
        assert kwargs["block_tables"].shape[0] == 64
        target = pathlib.Path(os.environ["FLASHINFER_DUMP_DIR"]) / "x_call0001"
        shutil.copytree({real!r}, target)
    get_compute_capability(None)
    get_trtllm_gen_fmha_module().trtllm_paged_attention_decode()
"""


def test_both_replays_are_given_the_same_capture_and_quoted_in_their_own_words(
    tmp_path, monkeypatch
):
    # GIVEN a package in FlashInfer's place whose capture is one that FlashInfer wrote
    real = Path(__file__).parents[1] / "importers" / "flashinfer" / "0.7.2"
    package = tmp_path / "flashinfer"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '0.0.1'")
    (package / "__main__.py").write_text("raise SystemExit(0)")
    (package / "api_logging.py").write_text(API_LOGGING)
    (package / "decode.py").write_text(DECODE.replace("{real!r}", repr(str(real))))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")

    theirs, ours = flashinfer_replay.figures(
        Path(__file__).parents[2] / "dumps" / "e4b_out_of_range.msgpack"
    )

    assert "FlashInfer 0.0.1: Replay passed (outputs matched)" in theirs.beside
    assert "without a GPU Execution failed: no CUDA here; its command here exits 0" in theirs.beside
    assert theirs.met is None
    assert ours.met and ours.beside.startswith("REPRODUCED, exit code 1: definite: 3 of 13")


@pytest.mark.skipif(
    importlib.util.find_spec("flashinfer") is None, reason="flashinfer-python is not installed"
)
def test_the_installed_flashinfer_calls_an_inputs_only_dump_a_pass():
    theirs, ours = flashinfer_replay.figures(
        Path(__file__).parents[2] / "dumps" / "e4b_out_of_range.msgpack"
    )

    assert "Replay passed" in theirs.beside
    assert ours.met
