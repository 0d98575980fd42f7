"""Arguments bind against the published signatures of every supported FlashInfer, on a CPU."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import dumps_fixture as dumps
from tests.replay.flashinfer_signatures import signatures_of
from triage.dump.flashinfer_api import CONTEXT, DECODE
from triage.dump.sections import Dump
from triage.errors import ReplayError
from triage.replay.flashinfer_call import (
    COUNTER_BUFFER,
    XQA,
    CallTensors,
    context_arguments,
    counter_buffer_bytes,
    decode_arguments,
)
from triage.replay.flashinfer_kernels import _parameters, _unsupported, why_not, wrapper_plan
from triage.replay.kernels import KERNELS, load
from triage.replay.verdict import Outcome

SIGNATURES = json.loads(Path(__file__).with_name("flashinfer_signatures.json").read_text())
STAND_INS = CallTensors(
    "query", "k", "v", "workspace", "table", "lengths", "sinks", "cu_q", "cu_kv", "counters"
)


def decode_dump() -> Dump:
    return dumps.make_dump(dumps.SMALL)


def verify_dump() -> Dump:
    return dumps.make_dump(replace(dumps.SMALL, q_len=4))


def ragged_dump() -> Dump:
    dump = decode_dump()
    launch = replace(dump.launch, q_len_per_req=0, cum_seq_lens_q=np.array([0, 2, 3, 7, 8]))
    return replace(dump, launch=launch)


def context_dump() -> Dump:
    dump = ragged_dump()
    return replace(dump, launch=replace(dump.launch, api=CONTEXT))


def parameters(version: str, entry: str) -> set[str]:
    signature = SIGNATURES[version][entry]
    return set(signature["required"]) | set(signature["optional"])


def assert_binds(version: str, entry: str, arguments: dict) -> None:
    signature = SIGNATURES[version][entry]
    assert set(signature["required"]) <= arguments.keys()
    assert arguments.keys() <= parameters(version, entry)


@pytest.mark.parametrize("version", SIGNATURES)
@pytest.mark.parametrize("make", [decode_dump, verify_dump, ragged_dump])
def test_a_decode_launch_binds(version, make):
    dump = make()

    arguments = decode_arguments(dump, STAND_INS, parameters(version, DECODE), backend="trtllm-gen")

    assert_binds(version, DECODE, arguments)
    assert arguments["max_seq_len"] == dump.launch.max_seq_len
    assert arguments["window_left"] == dump.launch.window_left
    assert arguments["kv_layout"] == "HND"
    assert (COUNTER_BUFFER in arguments) == (version >= "0.6.15")
    if make is ragged_dump:
        assert (arguments["max_q_len"], arguments["q_len_per_req"]) == (4, None)


@pytest.mark.parametrize("version", SIGNATURES)
def test_a_context_launch_binds(version):
    arguments = context_arguments(context_dump(), STAND_INS, parameters(version, CONTEXT))

    assert_binds(version, CONTEXT, arguments)
    assert (arguments["batch_size"], arguments["max_q_len"]) == (4, 4)


@pytest.mark.parametrize("version", SIGNATURES)
def test_an_xqa_launch_binds_with_the_layout_named(version):
    arguments = decode_arguments(decode_dump(), STAND_INS, parameters(version, XQA))

    assert_binds(version, XQA, arguments)
    assert arguments["kv_layout"] == "HND"  # XQA's own default is NHD


@pytest.mark.parametrize("version", SIGNATURES)
def test_the_paged_wrapper_binds(version):
    dump = decode_dump()
    table = torch.from_numpy(dump.tables.page_table.padded())
    tensors = replace(STAND_INS, block_tables=table, query=table, k_cache=table)

    plan = wrapper_plan_on_cpu(dump, tensors)

    entry = "BatchPrefillWithPagedKVCacheWrapper.plan"
    assert_binds(version, entry, plan)
    columns = -(-dump.tables.cache_seqlens.astype(int) // 16)
    assert plan["paged_kv_indptr"].tolist() == [0, *np.cumsum(columns).tolist()]
    assert len(plan["paged_kv_indices"]) == columns.sum()
    assert plan["paged_kv_last_page_len"].tolist() == [
        (length - 1) % 16 + 1 for length in dump.tables.cache_seqlens.tolist()
    ]


def wrapper_plan_on_cpu(dump: Dump, tensors: CallTensors) -> dict:
    return wrapper_plan(dump, tensors)


def test_a_launch_that_an_old_release_cannot_express_is_refused_by_name():
    with pytest.raises(ReplayError, match="no parameter sinks"):
        decode_arguments(decode_dump(), STAND_INS, parameters("0.6.12", DECODE) - {"sinks"})


def test_recorded_scalars_are_passed_and_recorded_text_is_not():
    dump = decode_dump()
    scalars = {**dump.launch.arguments, "o_scale": 0.5, "out_dtype": "torch.float16", "evil": 1}
    dump = replace(dump, launch=replace(dump.launch, arguments=scalars))

    arguments = decode_arguments(dump, STAND_INS, parameters("0.6.12", DECODE))

    assert arguments["o_scale"] == 0.5
    assert "out_dtype" not in arguments and "evil" not in arguments


@pytest.mark.parametrize(
    ("rows", "heads", "sms", "expected"), [(1, 8, 148, 608), (64, 8, 148, 2048), (1, 1, 3, 32)]
)
def test_the_counter_buffer_has_flashinfers_size(rows, heads, sms, expected):
    assert counter_buffer_bytes(rows, heads, sms) == expected


@pytest.mark.skipif(
    importlib.util.find_spec("flashinfer") is None, reason="flashinfer-python is not installed"
)
def test_the_installed_functions_themselves_take_the_arguments():
    decode = importlib.import_module("flashinfer.decode")
    prefill = importlib.import_module("flashinfer.prefill")
    for make in (decode_dump, verify_dump, ragged_dump):
        call = getattr(decode, DECODE)
        arguments = decode_arguments(make(), STAND_INS, _parameters(call), backend="trtllm-gen")
        inspect.signature(call).bind(**arguments)
    for owner, name, make, bind in (
        (prefill, CONTEXT, context_dump, context_arguments),
        (decode, XQA, decode_dump, decode_arguments),
    ):
        call = getattr(owner, name)
        inspect.signature(call).bind(**bind(make(), STAND_INS, _parameters(call)))


@pytest.mark.skipif(
    "TRIAGE_FLASHINFER_WHEELS" not in os.environ,
    reason="TRIAGE_FLASHINFER_WHEELS names no folder of flashinfer-python wheels",
)
def test_the_recorded_signatures_are_those_of_the_wheels():
    folder = Path(os.environ["TRIAGE_FLASHINFER_WHEELS"])
    for version, recorded in SIGNATURES.items():
        (wheel,) = folder.glob(f"flashinfer_python-{version}-*.whl")
        assert recorded == signatures_of(wheel)


@pytest.mark.parametrize(
    ("kernel", "change", "reason"),
    [
        ("xqa", {"api": CONTEXT}, "no context launch"),
        ("xqa", {"q_len_per_req": 4}, "needs a mask"),
        ("xqa", {"head_dim": 512}, "head_dim 512"),
        ("xqa", {"num_q_heads": 64}, "at most 32"),
        ("fa3", {"head_dim": 80}, "head_dim 80"),
        ("trtllm-gen", {}, ""),
    ],
)
def test_calls_that_a_kernel_cannot_express_are_named(kernel, change, reason):
    found = _unsupported(kernel, replace(decode_dump().launch, **change))

    assert reason in found and bool(found) == bool(reason)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: the kernels may run")
@pytest.mark.parametrize("kernel", [name for name, each in KERNELS.items() if each.needs_gpu])
def test_without_a_gpu_each_kernel_says_what_it_needs(kernel):
    verdict = load(kernel)(decode_dump(), "")

    assert verdict.outcome is Outcome.CANNOT_RUN
    assert why_not(kernel, decode_dump()) in verdict.reasons[0]
    assert verdict.reasons[0].startswith("needs sm_")
