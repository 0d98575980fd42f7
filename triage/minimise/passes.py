"""The order in which a dump is cut: whole rows first, then what one row still needs.

A pass is a generator of candidates that is told, for each, whether it kept
the signature, and goes on from the last one that did.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np

from triage.dump.expected_ids import launch_columns, query_lens, tables_of
from triage.dump.sections import Dump
from triage.explain.case import LaunchCase
from triage.minimise.cuts import (
    cut_lengths,
    drop_leading,
    keep_rows,
    strip,
    with_heads,
    with_one_query,
)

Search = Generator[Dump, bool, None]

MAX_AIMED_ROWS = 8
SMALLEST_HEAD_DIM = 64


def rows(dump: Dump) -> Search:
    """ddmin over rows: halves, then quarters, down to single rows, keeping any part that fails."""
    kept = list(range(len(tables_of(dump).cache_seqlens)))
    parts = 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        chunks = [kept[at : at + size] for at in range(0, len(kept), size)]
        rests = [[row for row in kept if row not in chunk] for chunk in chunks]
        for candidate in chunks + (rests if len(chunks) > 2 else []):
            if candidate and (yield keep_rows(dump, candidate)):
                kept, parts = candidate, max(2, parts - 1)
                break
        else:
            if parts >= len(kept):
                return
            parts = min(2 * parts, len(kept))


def aimed(dump: Dump) -> Search:
    """Let a bad entry's page be the last and only one that its row can see."""
    case = LaunchCase.of(dump)
    count = len(tables_of(dump).cache_seqlens)
    if case is None or count > MAX_AIMED_ROWS:
        return
    assert dump.launch is not None
    page_size, q_lens = dump.launch.page_size, _q_lens(dump)
    for mask in (case.outside(), case.wrong()):
        for offset in range(3):
            lengths = tables_of(dump).cache_seqlens.astype(np.int64).copy()
            for row in range(count):
                columns = np.flatnonzero(mask[row])
                if len(columns) > offset:
                    lengths[row] = int(columns[offset]) * page_size + q_lens[row]
            shortened = cut_lengths(dump, lengths, min(dump.launch.window_left, 0))
            if (lengths <= tables_of(dump).cache_seqlens).all() and (yield shortened):
                return


def one_query(dump: Dump) -> Search:
    if int(_q_lens(dump).max(initial=1)) > 1:
        yield with_one_query(dump)


def window(dump: Dump) -> Search:
    """The smallest window of a doubling series that still fails."""
    assert dump.launch is not None
    current, trial = dump.launch.window_left, 1
    lengths = tables_of(dump).cache_seqlens
    while trial <= current:
        if (yield cut_lengths(dump, lengths, trial - 1)):
            return
        trial *= 2


def lengths(dump: Dump) -> Search:
    """Each row ends as early as the failure allows: first by pages, then within the page."""
    assert dump.launch is not None
    current, page_size, q_lens = dump, dump.launch.page_size, _q_lens(dump)
    for row in range(len(q_lens)):
        edges = launch_columns(current)
        for column in range(int(edges.must_low[row]), int(edges.high[row])):
            lengths = tables_of(current).cache_seqlens.astype(np.int64).copy()
            shorter = column * page_size + int(q_lens[row])
            if shorter >= lengths[row]:
                break
            lengths[row] = shorter
            assert current.launch is not None
            candidate = cut_lengths(current, lengths, current.launch.window_left)
            if (yield candidate):
                current = candidate
                break


def leading(dump: Dump) -> Search:
    """Without the columns before the first that any row sees, or before any at all."""
    edges = launch_columns(dump)
    if not len(edges.high):
        return
    for columns in (int(edges.high.min()) - 1, int(edges.must_low.min())):
        if columns > 0 and (yield drop_leading(dump, columns)):
            return


def heads(dump: Dump) -> Search:
    """One head of 64 elements: the smallest that trtllm-gen has kernels for."""
    assert dump.launch is not None
    launch = dump.launch
    current = (launch.num_q_heads, launch.num_kv_heads, launch.head_dim)
    head_dim = min(launch.head_dim, SMALLEST_HEAD_DIM)
    for shape in (
        (1, 1, head_dim),
        (launch.num_q_heads // launch.num_kv_heads, 1, launch.head_dim),
    ):
        if shape < current and (yield with_heads(dump, *shape)):
            return


def context(dump: Dump) -> Search:
    """Without history, values and what else no verdict rests on.

    max_seq_len stays: it decides which kernel the call selects.
    """
    candidate = strip(dump)
    assert candidate.launch is not None
    arguments = {
        name: value
        for name, value in candidate.launch.arguments.items()
        if name in ("bmm1_scale", "bmm2_scale", "window_left")
    }
    if "window_left" in arguments:
        arguments["window_left"] = candidate.launch.window_left
    yield replace(candidate, launch=replace(candidate.launch, arguments=arguments))


def _q_lens(dump: Dump) -> np.ndarray:
    count = len(tables_of(dump).cache_seqlens)
    return np.broadcast_to(np.asarray(query_lens(dump), dtype=np.int64), (count,))


PASSES: dict[str, Callable[[Dump], Search]] = {
    "rows": rows,
    "queries": one_query,
    "aimed": aimed,
    "window": window,
    "lengths": lengths,
    "leading columns": leading,
    "heads": heads,
    "context": context,
}
