"""What is kept of one launch so that its output can be computed again later: copies, in order.

The failure: a reference that reads the cache after the launch reads what somebody wrote
since, and blames the kernel. The rule: everything is copied on the launch's own stream right
behind it, before anything that is queued later can change it: a few rows' queries, outputs,
ids and lengths, and of one KV head the pages that those ids name. Nothing waits: shapes
come from the host, indices are computed on the device.

Not covered: what a launch may be asked for that the reference does not compute (`why_not`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from triage.replay.output_bound import FP8, Numbers
from triage.sglang.launch.call import AttentionCall

MAX_BYTES = 64 << 20
"""Of the copies of one launch."""
MAX_ROWS = 4
MAX_QUERIES = 8
"""The newest queries of a row, as many as a verify has."""
SLACK_TOKENS = 64
"""What a mode may add to the lengths that the host knows: verified tokens, a draft's steps."""

_NOT_COMPUTED = {
    "skip_softmax_threshold_scale_factor": "asked to leave keys out (skip-softmax)",
    "o_sf_scale": "an output in blocks with scales of their own",
    "kv_cache_sf": "a cache in blocks with scales of their own",
}
_SWITCHES = {
    "enable_block_sparse_attention": "asked to leave keys out (block-sparse)",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which part of a launch is looked at: `rows` from `first_row` on, one KV head's group."""

    first_row: int
    rows: int
    kv_head: int
    columns: int
    """Pages of each row that are copied: what the longest of them can see."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Of the chosen rows, the newest queries, aligned to the right: `(rows, Q, group, D)`.

    counts: `(rows,)`, how many of them are the row's; the others are anything. Empty inside a
        graph, where all of them are.
    """

    query: Tensor
    output: Tensor
    counts: Tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """Copies of a launch's inputs and output, on its device.

    keys, values: `(rows * columns, 1, page_size, D)`, as stored.
    first_column: `(rows,)`, the page of the row that its first copied page is.
    outside: `(rows,)`, does a page that the row reads lie outside the cache?
    table, lengths, requests: of the whole launch, for the dump.
    bmm1_scale, bmm2_scale: of the launch, a number or a tensor of one.
    """

    chosen: Chosen
    queries: Queries
    keys: Tensor
    values: Tensor
    lengths: Tensor
    first_column: Tensor
    outside: Tensor
    table: Tensor
    all_lengths: Tensor
    requests: Tensor | None
    offsets: Tensor | None
    sinks: Tensor | None
    bmm1_scale: Any
    bmm2_scale: Any
    numbers: Numbers
    page_size: int
    window_left: int
    group: int


def why_not(call: AttentionCall, output: Any) -> str:
    """Why the reference does not compute what this launch was asked for; "" if it does.

    Host work only.
    """
    arguments = call.arguments
    for name, reason in _NOT_COMPUTED.items():
        if arguments.get(name) is not None:
            return reason
    for name, reason in _SWITCHES.items():
        if arguments.get(name):
            return reason
    if arguments.get("mask") is not None and call.q_len_per_req != 1:
        return "a mask of its own"
    if not isinstance(arguments.get("kv_cache"), (tuple, list)):
        return "keys and values in one tensor"
    key, value = call.kv
    if key.shape != value.shape or key.dtype != value.dtype or key.dtype == torch.uint8:
        return f"a cache of {key.dtype} {tuple(key.shape)} and {value.dtype} {tuple(value.shape)}"
    if not isinstance(output, Tensor) or output.shape != call.query.shape:
        return "an output of another shape than the queries"
    if call.query.shape[-2] % call.num_kv_heads:
        return "query heads that KV heads do not divide"
    if call.block_tables.dim() != 2 or not call.block_tables.shape[0]:
        return "a table without rows"
    queries, rows = int(call.query.shape[0]), int(call.block_tables.shape[0])
    if call.cum_seq_lens_q is None and queries != rows * call.q_len_per_req:
        return "queries that are not the same number of each row"
    return ""


def choose(call: AttentionCall, turn: int, longest: int) -> Chosen | str:
    """Rows and head of this turn, as many as fit; why none does.

    turn: counts up from step to step, so that rows and heads take turns.
    longest: tokens of the longest row as far as the host knows, or what the table can hold.
    """
    page, width = call.page_size, int(call.block_tables.shape[1])
    rows = int(call.block_tables.shape[0])
    columns = min(-(-longest // page), width)
    if call.window_left >= 0:
        columns = min(columns, (call.window_left + MAX_QUERIES) // page + 2)
    key = call.kv[0]
    row_bytes = 2 * columns * page * int(key.shape[-1]) * key.element_size()
    taken = min(MAX_ROWS, rows, MAX_BYTES // max(row_bytes, 1))
    if not taken:
        return f"a row's pages take more than {MAX_BYTES >> 20} MiB"
    first = turn * MAX_ROWS % rows
    return Chosen(min(first, rows - taken), taken, turn % call.num_kv_heads, columns)


def queries_of(
    call: AttentionCall, output: Tensor, chosen: Chosen, *, counted: bool = True
) -> Queries:
    """Copies of the chosen rows' newest queries and outputs. Launches only; legal anywhere.

    counted: False leaves `counts` empty where every row has the same number of queries.
    """
    group = int(call.query.shape[-2]) // call.num_kv_heads
    heads = slice(chosen.kv_head * group, (chosen.kv_head + 1) * group)
    rows = slice(chosen.first_row, chosen.first_row + chosen.rows)
    cumulative = call.cum_seq_lens_q
    if cumulative is None:
        each = call.q_len_per_req
        query, out = (
            t.reshape(-1, each, *t.shape[1:])[rows, -MAX_QUERIES:, heads].clone()
            for t in (call.query, output)
        )
        counts = full_counts(query) if counted else query.new_empty(0, dtype=torch.int64)
        return Queries(query, out, counts)
    start = cumulative[rows].long()
    end = cumulative[chosen.first_row + 1 : chosen.first_row + chosen.rows + 1].long()
    back = torch.arange(-MAX_QUERIES, 0, device=end.device)
    index = (end[:, None] + back).clamp(0, call.query.shape[0] - 1)
    counts = (end - start).clamp(0, MAX_QUERIES)
    return Queries(call.query[index][:, :, heads], output[index][:, :, heads], counts)


def full_counts(query: Tensor) -> Tensor:
    """`counts` of `query`, `(rows, Q, group, D)`, where all of them are their row's. One launch."""
    return query.new_full(query.shape[:1], query.shape[1], dtype=torch.int64)


def take(call: AttentionCall, chosen: Chosen, queries: Queries, requests: Tensor | None) -> Sample:
    """Copy what `queries` read. Queues a dozen small launches on the current stream, no wait."""
    rows = slice(chosen.first_row, chosen.first_row + chosen.rows)
    page = call.page_size
    table, lengths = call.block_tables[rows], call.cache_seqlens[rows].long()
    first = torch.zeros_like(lengths)
    if call.window_left >= 0:
        first = (lengths - queries.counts - call.window_left).clamp_(min=0) // page
    column = first[:, None] + torch.arange(chosen.columns, device=table.device)
    ids = table.gather(1, column.clamp(max=table.shape[1] - 1)).long()
    live = column * page < lengths[:, None]
    outside = (live & ((ids < 0) | (ids >= call.num_pages))).any(dim=1)
    pages = torch.where(live, ids, 0).clamp_(0, call.num_pages - 1)
    caches = [
        (part[:, chosen.kv_head] if call.layout == "HND" else part[:, :, chosen.kv_head])
        for part in call.kv
    ]
    keys, values = (_gathered(cache, pages).flatten(0, 1).unsqueeze(1) for cache in caches)
    group = int(queries.query.shape[2])
    sinks = call.arguments.get("sinks")
    if isinstance(sinks, (list, tuple)):
        sinks = sinks[0] if sinks else None
    if sinks is not None:
        sinks = sinks[chosen.kv_head * group : (chosen.kv_head + 1) * group].clone()
    return Sample(
        chosen=chosen,
        queries=queries,
        keys=keys,
        values=values,
        lengths=lengths,
        first_column=first,
        outside=outside,
        table=call.block_tables.clone(),
        all_lengths=call.cache_seqlens.clone(),
        requests=None if requests is None else requests.clone(),
        offsets=None if call.cum_seq_lens_q is None else call.cum_seq_lens_q.clone(),
        sinks=sinks,
        bmm1_scale=_kept(call.arguments, "bmm1_scale"),
        bmm2_scale=_kept(call.arguments, "bmm2_scale"),
        numbers=Numbers(queries.query.dtype, call.kv[0].dtype, queries.output.dtype),
        page_size=page,
        window_left=call.window_left,
        group=group,
    )


def _gathered(cache: Tensor, pages: Tensor) -> Tensor:
    """`cache[pages]`; of an fp8 cache by its bytes, which every torch can index."""
    if cache.dtype not in FP8:
        return cache[pages]
    return cache.view(torch.uint8)[pages].view(cache.dtype)


def _kept(arguments: Mapping[str, Any], name: str) -> Any:
    value = arguments.get(name, 1.0)
    return value.clone() if isinstance(value, Tensor) else float(value)
