"""FlashInfer's kernels as replay kernels: trtllm-gen, XQA, FA2 and FA3.

Each runs in a process of its own (see `engine`), so an illegal access ends
that process's CUDA context and nothing else. The K and V caches stand between
unmapped guard pages where cuda-python is at hand. Only trtllm-gen is the
kernel that crashed: the others touch other pages, so for those the entries
outside the window are sent to page 0 first, and their verdict is a cross-check.
Probed on an H200 with a window: XQA rounds its left edge down to 256 tokens,
FA2 to its own page or 128 tokens; FA3 reads one tile of 96 tokens more than it
needs on the left, and the values of the row's first tile whatever the window.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from triage.dump.expected_ids import tables_of, visible
from triage.dump.flashinfer_api import CONTEXT, DECODE
from triage.dump.sections import Dump, Launch
from triage.errors import ReplayError
from triage.replay.flashinfer_call import (
    WORKSPACE_BYTES,
    XQA,
    CallTensors,
    context_arguments,
    counter_buffer_bytes,
    decode_arguments,
)
from triage.replay.guarded_pool import GuardedPool, Layout, guards_available
from triage.replay.kv_source import Inputs
from triage.replay.placement import joined_halves
from triage.replay.synthesis import torch_dtype
from triage.replay.values import compare_with_right_table, q_lens_of
from triage.replay.verdict import Basis, Outcome, Verdict, records_fault


class Needs(NamedTuple):
    """What a kernel runs on: compute-capability majors, and the words for it."""

    majors: tuple[int, ...]
    words: str


NEEDS = {
    "trtllm-gen": Needs((10,), "sm_100/103"),
    "xqa": Needs((9, 10, 12), "sm_90, sm_100 or sm_120"),
    "fa2": Needs((8, 9, 10, 12), "sm_80 or newer"),
    "fa3": Needs((9,), "sm_90"),
}

# bf16 outputs of the same values through another order of sums; FlashInfer's own tests use 1e-2.
TOLERANCE = 2e-2


def run_trtllm_gen(dump: Dump, fix: str = "") -> Verdict:
    return _run("trtllm-gen", dump, fix, _launch_trtllm, faithful=True)


def run_xqa(dump: Dump, fix: str = "") -> Verdict:
    return _run("xqa", dump, fix, _launch_xqa, faithful=False)


def run_fa2(dump: Dump, fix: str = "") -> Verdict:
    return _run("fa2", dump, fix, _launch_wrapper("fa2"), faithful=False)


def run_fa3(dump: Dump, fix: str = "") -> Verdict:
    return _run("fa3", dump, fix, _launch_wrapper("fa3"), faithful=False)


SMALLEST_HEAD_DIM = 64

LaunchOnce = Callable[[Dump, CallTensors], Tensor]


def why_not(kernel: str, dump: Dump) -> str:
    """What is missing here to run `kernel` on this launch; empty if nothing is."""
    needs = NEEDS[kernel]
    if not torch.cuda.is_available():
        return f"needs {needs.words}; torch sees no CUDA device here"
    major, minor = torch.cuda.get_device_capability()
    if major not in needs.majors:
        return f"needs {needs.words}; this GPU is sm_{major}{minor}"
    if importlib.util.find_spec("flashinfer") is None:
        return "needs flashinfer-python; it is not installed here"
    if dump.launch is None or dump.tables is None:
        return "the dump holds no launch with its tables"
    return _unsupported(kernel, dump.launch)


def with_served_head_dim(dump: Dump) -> tuple[Dump, str]:
    """A launch of a head_dim that no kernel has, as the lab's are, made wide enough to run.

    Only where the values are synthesised anyway: tables, lengths and extents, which
    are what such a dump is about, stay as recorded. Returns the dump and a sentence.
    """
    launch = dump.launch
    if launch is None or dump.kv or launch.head_dim >= SMALLEST_HEAD_DIM:
        return dump, ""
    wide = replace(launch, head_dim=SMALLEST_HEAD_DIM)
    return (
        replace(dump, launch=wide),
        f"head_dim {launch.head_dim} was run as {SMALLEST_HEAD_DIM}: the values are synthesised",
    )


def _unsupported(kernel: str, launch: Launch) -> str:
    """Calls that a kernel cannot express; the reasons are FlashInfer's own limits."""
    if kernel == "xqa":
        if launch.api == CONTEXT or launch.q_len_per_req == 0:
            return "XQA has no context launch; needs a decode launch of uniform query length"
        if launch.q_len_per_req > 1:
            return "XQA needs a mask for more than one query token, which the dump does not hold"
        if launch.head_dim % 16 or launch.head_dim > 256:
            return f"XQA has no head_dim {launch.head_dim}; needs a multiple of 16 up to 256"
        if launch.num_q_heads // launch.num_kv_heads > 32:
            return "XQA groups at most 32 query heads"
    if kernel in ("fa2", "fa3") and "sinks" in launch.tensors:
        return "FlashInfer's paged wrapper takes no sinks here; needs its attention-sink wrapper"
    if kernel == "fa3" and launch.head_dim not in (64, 128, 256):
        return f"FA3 has no head_dim {launch.head_dim}; needs 64, 128 or 256"
    return ""


def _run(kernel: str, dump: Dump, fix: str, launch_once: LaunchOnce, *, faithful: bool) -> Verdict:
    fault_expected = records_fault(dump) and not fix
    dump, widened = with_served_head_dim(dump)
    refusal = why_not(kernel, dump)
    if refusal:
        return Verdict(kernel, Outcome.CANNOT_RUN, Basis.EXECUTED, (refusal,), fault_expected, fix)

    def run_table(which: Dump, inputs: Inputs, ids: np.ndarray) -> Tensor:
        raw = faithful or bool(which.provenance.get("probe"))
        return _launch_table(which, inputs, ids, launch_once, faithful=raw)

    guarded = guards_available()
    notes = [widened] if widened else []
    notes += [] if guarded else ["the caches have no guard pages (needs cuda-python)"]
    if not faithful:
        notes.append("a cross-check: this kernel touches other pages than trtllm-gen does")
    try:
        return compare_with_right_table(
            kernel,
            dump,
            fix,
            run_table,
            extra=lambda _: ({"guarded": guarded}, notes),
            tolerance=TOLERANCE,
            can_fault=True,
        )
    except RuntimeError as error:  # torch.AcceleratorError from torch 2.9 on
        text = str(error).splitlines()[0]
        # FlashInfer's own checks report CUDA's sentence without its name.
        if "CUDA" not in text and "illegal memory access" not in text:
            raise
        return Verdict(
            kernel,
            Outcome.REPRODUCED,
            Basis.EXECUTED,
            (f"the launch ended in a CUDA error: {text}", *notes),
            fault_expected,
            fix,
            {"guarded": guarded, "faulted": True},
        )


def _launch_table(
    dump: Dump, inputs: Inputs, ids: np.ndarray, launch_once: LaunchOnce, *, faithful: bool
) -> Tensor:
    """One launch over the table `ids`, waited for; raises what CUDA reports."""
    assert dump.launch is not None
    launch, tables = dump.launch, tables_of(dump)
    table = np.array(ids, dtype=np.int32)
    if not faithful:
        table[~visible(dump, table.shape[1])] = 0
    seen = table[visible(dump, table.shape[1])]
    named = np.unique(seen[(seen > 0) & (seen < launch.num_pages)]).astype(np.int64)
    dtype = torch_dtype(launch.tensors["k_cache"].dtype if "k_cache" in launch.tensors else "")
    shape = (launch.num_pages, launch.num_kv_heads, launch.page_size, launch.head_dim)
    query_type = torch_dtype(launch.tensors["query"].dtype if "query" in launch.tensors else "")
    rows = len(tables.cache_seqlens)
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    # NaN wherever no visible token lies: a kernel that lets such a page count shows it.
    layout: Layout = "joined" if joined_halves(launch) else "separate"
    with GuardedPool(shape, dtype, layout=layout, fill=float("nan")) as pool:
        pool.k_cache[0] = pool.v_cache[0] = 0
        if len(named):
            keys, values = inputs.read_kv(torch.from_numpy(named)[None, :])
            where = torch.from_numpy(named).cuda()
            pool.k_cache[where] = keys[0].to(dtype).cuda()
            pool.v_cache[where] = values[0].to(dtype).cuda()
        counters = counter_buffer_bytes(rows, launch.num_q_heads, properties.multi_processor_count)
        tensors = CallTensors(
            query=inputs.query.to(query_type).cuda(),
            k_cache=pool.k_cache,
            v_cache=pool.v_cache,
            workspace_buffer=torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device="cuda"),
            block_tables=torch.from_numpy(table).contiguous().cuda(),
            seq_lens=torch.from_numpy(tables.cache_seqlens.astype(np.int32)).cuda(),
            sinks=None if inputs.sinks is None else inputs.sinks.float().cuda(),
            cum_seq_lens_q=_offsets(q_lens_of(dump)),
            cum_seq_lens_kv=_offsets(tables.cache_seqlens),
            counter_buffer=torch.zeros(counters, dtype=torch.uint8, device="cuda"),
        )
        torch.cuda.synchronize()
        out = launch_once(dump, tensors)
        torch.cuda.synchronize()
        return out.float().cpu().reshape(-1, launch.num_q_heads, launch.head_dim)


def _launch_trtllm(dump: Dump, tensors: CallTensors) -> Tensor:
    assert dump.launch is not None
    if dump.launch.api == CONTEXT:
        call = getattr(importlib.import_module("flashinfer.prefill"), CONTEXT)
        out: Tensor = call(**context_arguments(dump, tensors, _parameters(call)))
        return out
    call = getattr(importlib.import_module("flashinfer.decode"), DECODE)
    out = call(**decode_arguments(dump, tensors, _parameters(call), backend="trtllm-gen"))
    return out


def _launch_xqa(dump: Dump, tensors: CallTensors) -> Tensor:
    call = getattr(importlib.import_module("flashinfer.decode"), XQA)
    out: Tensor = call(**decode_arguments(dump, tensors, _parameters(call)))
    return out


def _launch_wrapper(backend: str) -> LaunchOnce:
    def launch_once(dump: Dump, tensors: CallTensors) -> Tensor:
        prefill = importlib.import_module("flashinfer.prefill")
        wrapper = prefill.BatchPrefillWithPagedKVCacheWrapper(
            tensors.workspace_buffer, kv_layout="HND", backend=backend
        )
        wrapper.plan(**wrapper_plan(dump, tensors))
        out: Tensor = wrapper.run(tensors.query, (tensors.k_cache, tensors.v_cache))
        return out * float(_scale(dump, "bmm2_scale", 1.0))

    return launch_once


def wrapper_plan(dump: Dump, tensors: CallTensors) -> dict[str, Any]:
    """Arguments of the paged wrapper's `plan`: the live columns of every row, one after another."""
    assert dump.launch is not None
    launch = dump.launch
    lengths = tables_of(dump).cache_seqlens.astype(np.int64)
    columns = -(-lengths // launch.page_size)
    table = tensors.block_tables.cpu()
    live = torch.arange(table.shape[1])[None, :] < torch.from_numpy(columns)[:, None]
    return {
        "qo_indptr": _offsets(q_lens_of(dump), device="cpu"),
        "paged_kv_indptr": _offsets(columns, device="cpu"),
        "paged_kv_indices": table[live].to(tensors.block_tables.device),
        "paged_kv_last_page_len": torch.from_numpy(
            (lengths - (columns - 1) * launch.page_size).astype(np.int32)
        ),
        "num_qo_heads": launch.num_q_heads,
        "num_kv_heads": launch.num_kv_heads,
        "head_dim_qk": launch.head_dim,
        "page_size": launch.page_size,
        "causal": True,
        "sm_scale": _scale(dump, "bmm1_scale", launch.head_dim**-0.5),
        "window_left": launch.window_left,
        "q_data_type": tensors.query.dtype,
        "kv_data_type": tensors.k_cache.dtype,
    }


def _scale(dump: Dump, name: str, usual: float) -> float:
    assert dump.launch is not None
    scale = dump.launch.arguments.get(name)
    return float(scale) if isinstance(scale, (int, float)) else usual


def _parameters(call: Callable[..., Any]) -> set[str]:
    parameters = set(inspect.signature(call).parameters)
    if not {"query", "kv_cache"} <= parameters:
        raise ReplayError(f"{call.__name__} of this FlashInfer does not say its parameters")
    return parameters


def _offsets(lengths: np.ndarray, device: str = "cuda") -> Tensor:
    offsets = np.concatenate([[0], np.cumsum(lengths.astype(np.int64))]).astype(np.int32)
    return torch.from_numpy(offsets).to(device)
