"""The map of a page table as a page carries it: every entry's state, and the ids that fit."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from triage.dump.expected_ids import launch_columns
from triage.report.table_map import STATES, TableMap

LEFT_OUT = -(2**31)
"""Stands in `ids` for an entry whose id was left out to keep the page small."""
_BYTES_PER_ENTRY = 8  # of one that is told on its own: as base64 of what zlib leaves


def encoded(table: TableMap, budget: int) -> dict[str, Any]:
    """The map as the page unpacks it: base64 of zlib of little-endian int32, row by row.

    `states` are indices into `legend`, a byte each; `expected` is what is to be XORed with the
    ids; both as planes of bytes. `ids` that begin with `+` are differences along the flat
    table. Where all of it does
    not fit into `budget`, the ids of entries that are not bad are left out (`LEFT_OUT`), then
    bad ones from the end; `left_out` counts them, and every state is told all the same. A
    table whose states alone do not fit is not drawn: `states` is empty then.
    """
    case = table.case
    ids, expected, left_out = _within_32_bits(table.ids), _within_32_bits(table.expected), 0
    counts, edges, tables = table.counts(), launch_columns(case.dump), case.tables
    requests = tables.req_pool_indices
    by_row = {
        "requests": None if requests is None else _ints(requests),
        "lengths": _ints(tables.cache_seqlens),
        "visible_low": _ints(edges.must_low),
        "visible_high": _ints(edges.high),
    }
    states = _packed(table.states.tobytes())
    budget -= len(states) + sum(map(len, filter(None, by_row.values())))
    packed = _ids(ids), _ints(ids ^ expected)
    wrong = np.flatnonzero(table.bad.ravel())
    keep = min(len(wrong), max(budget, 0) // _BYTES_PER_ENTRY)
    while sum(map(len, packed)) > max(budget, 0) and left_out < ids.size:
        gone = np.ones(ids.size, dtype=bool)
        gone[wrong[:keep]] = False
        left_out = int(gone.sum())
        ids.ravel()[gone] = expected.ravel()[gone] = LEFT_OUT
        packed = _ids(ids), _ints(ids ^ expected)
        keep //= 2
    if budget < 0:
        states, packed, by_row, left_out = "", ("", ""), dict.fromkeys(by_row, ""), ids.size
    return {
        "rows": len(table.states),
        "columns": table.states.shape[1],
        "first_column": table.first_column,
        "width": case.table.shape[1],
        "real_rows": case.rows,
        "page_size": case.launch.page_size,
        "num_pages": case.launch.num_pages,
        "pool": "" if case.pools is None else case.pools.read,
        "misread": case.misread,
        "legend": [{**state._asdict(), "count": counts[state.key]} for state in STATES],
        "states": states,
        "ids": packed[0],
        "expected": packed[1],
        "left_out": left_out,
        **by_row,
    }


def _within_32_bits(values: np.ndarray) -> np.ndarray:
    """No page has an id beyond; one that is (an int64 table) is told as the nearest that fits."""
    return np.clip(values, LEFT_OUT + 1, 2**31 - 1).astype(np.int32)


def _ids(ids: np.ndarray) -> str:
    """As differences (`+` before them) where that is shorter: an allocator gives neighbours."""
    steps = _ints(np.diff(ids.ravel(), prepend=np.int32(0)))  # wraps, as the page's sum does
    return min(f"+{steps}", _ints(ids), key=len)


def _ints(values: np.ndarray) -> str:
    """int32, the lowest byte of every value, then the next: what is alike lies together."""
    narrow = _within_32_bits(values) if values.dtype.itemsize > 4 else values
    planes = np.ascontiguousarray(narrow.ravel().astype("<i4")).view(np.uint8).reshape(-1, 4).T
    return _packed(np.ascontiguousarray(planes).tobytes())


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 6)).decode()
