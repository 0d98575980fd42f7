"""The keys, values and queries that one launch reads, for a dump that was asked for them.

`SGLANG_TRTLLM_MHA_DEBUG_KV=touched`: without them a replay computes on synthesised
values, which shows that an output is wrong but not which one the server gave. They are
user data, so nothing is stored unless asked for. Runs after a trap fired and before the
launch, so the pages are what the kernel would have read. Layout: `replay/kv_source.py`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from triage.dump.dtypes import RAW_STORAGE, from_raw, numpy_dtype
from triage.dump.sections import Tables
from triage.evidence import Evidence
from triage.sglang.launch.call import AttentionCall

MAX_KV_BYTES = 256 << 20
"""Keys and values of one dump. A full-attention launch of 64 long rows would be gigabytes."""


def touched_kv(call: AttentionCall, tables: Tables, fault: Evidence) -> dict[str, np.ndarray]:
    """The `kv` section of a dump; what had to be left out is noted in `fault.facts`.

    Pages of the rows with violations come first, each page once. Ids outside the cache
    have no page. Cost: one gather and one copy to the host for K and for V; synchronises.
    """
    key, value = call.kv
    if call.layout != "HND":
        key, value = key.transpose(1, 2), value.transpose(1, 2)
    pages = _pages(call, tables, [violation.row for violation in fault.violations])
    each = 2 * key[:1].numel() * key.element_size()
    kept = pages[: max(MAX_KV_BYTES // max(each, 1), 1)]
    if len(kept) < len(pages):
        fault.facts["kv pages left out"] = f"{len(pages) - len(kept)} of {len(pages)}"
    wanted = torch.from_numpy(kept).to(key.device)
    found = {"k": key[wanted], "v": value[wanted], "query": call.query}
    sinks = call.arguments.get("sinks")
    if isinstance(sinks, Tensor):
        found["sinks"] = sinks
    stored = {"pages": kept}
    for name, tensor in found.items():
        array = _array(tensor)
        if array is None:
            fault.facts[f"kv {name} left out"] = f"no dump holds {tensor.dtype}"
        else:
            stored[name] = array
    return stored


def _pages(call: AttentionCall, tables: Tables, first_rows: list[int]) -> np.ndarray:
    """The ids inside the cache in the window of every row, those of `first_rows` ahead."""
    rows = len(tables.page_table)
    order = list(dict.fromkeys([*(r for r in first_rows if 0 <= r < rows), *range(rows)]))
    queries = _queries(call, rows)
    page, window = call.page_size, call.window_left
    ids = []
    for row in order:
        length = int(tables.cache_seqlens[row])
        oldest = max(0, length - int(queries[row]) - window) if window >= 0 else 0
        ids.append(tables.page_table.row(row)[oldest // page : max(-(-length // page), 0)])
    live = np.concatenate([np.zeros(0, np.int64), *ids]).astype(np.int64)
    inside = live[(live >= 0) & (live < call.num_pages)]
    _, first = np.unique(inside, return_index=True)
    return inside[np.sort(first)]


def _queries(call: AttentionCall, rows: int) -> np.ndarray:
    if call.cum_seq_lens_q is not None:
        return np.diff(call.cum_seq_lens_q.detach().cpu().numpy().astype(np.int64))
    return np.full(rows, max(call.q_len_per_req, 1))


def _array(tensor: Tensor) -> np.ndarray | None:
    """`tensor` on the host in its own type; None for a type that a dump does not hold."""
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        wanted = numpy_dtype(name)
    except KeyError:
        return None
    host = tensor.detach().contiguous().cpu()
    if name not in RAW_STORAGE:
        return host.numpy().astype(wanted)
    raw = torch.uint16 if host.element_size() == 2 else torch.uint8
    return from_raw(name, host.view(raw).numpy())
