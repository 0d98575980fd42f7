"""The FlashInfer call that a dump records, as keyword arguments for the installed version.

Pure: it is given tensors and the parameter names of the function, so that the
binding is checked against every supported release on a CPU. Arguments are the
recorded ones and passed the way SGLang passes them: HND views, an int32 table,
`max_seq_len` as recorded (it selects the kernel), a zeroed workspace, and from
FlashInfer 0.6.15 a zeroed counter buffer of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from triage.dump.sections import Dump, Launch
from triage.errors import ReplayError

XQA = "xqa_batch_decode_with_kv_cache"

WORKSPACE_BYTES = 512 << 20  # SGLang's; the first 8 MiB are XQA's and older trtllm-gen's counters
COUNTER_BUFFER = "multi_ctas_kv_counter_buffer"

_TENSORS = {
    *("query", "kv_cache", "workspace_buffer", "block_tables", "seq_lens", "sinks", "out"),
    *("cum_seq_lens_q", "cum_seq_lens_kv", "mask", "kv_cache_sf", "lse", COUNTER_BUFFER),
}


@dataclass(frozen=True, slots=True)
class CallTensors:
    """What the call needs on the device; of `Any` type, as a CPU test passes stand-ins."""

    query: Any
    k_cache: Any
    v_cache: Any
    workspace_buffer: Any
    block_tables: Any
    seq_lens: Any
    sinks: Any = None
    cum_seq_lens_q: Any = None
    cum_seq_lens_kv: Any = None
    counter_buffer: Any = None


def counter_buffer_bytes(rows: int, num_q_heads: int, sm_count: int) -> int:
    """One int32 per row and head, at least one per SM, a multiple of eight of them.

    Source: flashinfer utils.py, get_trtllm_gen_multi_ctas_kv_counter_bytes (0.6.17).
    """
    return -(-max(rows * num_q_heads, sm_count) // 8) * 8 * 4


def decode_arguments(
    dump: Dump, tensors: CallTensors, parameters: Collection[str], *, backend: str = ""
) -> dict[str, Any]:
    """Keyword arguments for `trtllm_batch_decode_with_kv_cache` or the XQA entry.

    Args:
        parameters: the function's parameter names.
        backend: passed on if given; the XQA entry has no such parameter.
    Raises:
        ReplayError: if this FlashInfer lacks a parameter that the launch needs.
    """
    launch = _launch(dump)
    arguments = {
        **_shared(launch, tensors),
        "max_seq_len": launch.max_seq_len,
    }
    if launch.q_len_per_req:
        arguments["q_len_per_req"] = launch.q_len_per_req
    else:
        arguments["q_len_per_req"] = None
        arguments["max_q_len"] = _longest_query(launch)
        arguments["cum_seq_lens_q"] = tensors.cum_seq_lens_q
    if backend:
        arguments["backend"] = backend
    return _checked(arguments, launch, tensors, parameters)


def context_arguments(
    dump: Dump, tensors: CallTensors, parameters: Collection[str]
) -> dict[str, Any]:
    """Keyword arguments for `trtllm_batch_context_with_kv_cache`.

    Args:
        parameters: the function's parameter names.
    Raises:
        ReplayError: if this FlashInfer lacks a parameter that the launch needs, or the dump
            holds no launch with its tables.
    """
    launch = _launch(dump)
    assert dump.tables is not None
    arguments = {
        **_shared(launch, tensors),
        "max_q_len": _longest_query(launch),
        "max_kv_len": launch.max_seq_len,
        "batch_size": len(dump.tables.cache_seqlens),
        "cum_seq_lens_q": tensors.cum_seq_lens_q,
        "cum_seq_lens_kv": tensors.cum_seq_lens_kv,
    }
    return _checked(arguments, launch, tensors, parameters)


def _shared(launch: Launch, tensors: CallTensors) -> dict[str, Any]:
    scales = {
        "bmm1_scale": launch.arguments.get("bmm1_scale"),
        "bmm2_scale": launch.arguments.get("bmm2_scale"),
    }
    if not isinstance(scales["bmm1_scale"], (int, float)):  # it was a device tensor
        scales["bmm1_scale"] = launch.head_dim**-0.5
    if not isinstance(scales["bmm2_scale"], (int, float)):
        scales["bmm2_scale"] = 1.0
    shared = {
        "query": tensors.query,
        "kv_cache": (tensors.k_cache, tensors.v_cache),
        "workspace_buffer": tensors.workspace_buffer,
        "block_tables": tensors.block_tables,
        "seq_lens": tensors.seq_lens,
        **scales,
        "window_left": launch.window_left,
        "kv_layout": "HND",
    }
    if tensors.sinks is not None:
        shared["sinks"] = tensors.sinks
    return shared


def _checked(
    arguments: dict[str, Any], launch: Launch, tensors: CallTensors, parameters: Collection[str]
) -> dict[str, Any]:
    missing = [name for name in arguments if name not in parameters]
    if missing:
        raise ReplayError(f"this FlashInfer has no parameter {', '.join(missing)} for the launch")
    if COUNTER_BUFFER in parameters and tensors.counter_buffer is not None:
        arguments[COUNTER_BUFFER] = tensors.counter_buffer
    for name, value in launch.arguments.items():
        plain = isinstance(value, (bool, int, float))
        if plain and name in parameters and name not in arguments and name not in _TENSORS:
            arguments[name] = value
    return arguments


def _longest_query(launch: Launch) -> int:
    if launch.cum_seq_lens_q is None:
        return launch.q_len_per_req or 1
    offsets = launch.cum_seq_lens_q
    return int((offsets[1:] - offsets[:-1]).max(initial=1))


def _launch(dump: Dump) -> Launch:
    if dump.launch is None or dump.tables is None:
        raise ReplayError("the dump holds no launch with its tables")
    return dump.launch
