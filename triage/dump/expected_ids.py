"""What the page table of a launch should hold: invariant I2, from the dump's own tables.

An entry for column p of a row is right if it is the page of the token at
position p * page_size, in the ids of the pool that is read:

    full pool, or a draft's own pool     R[req, p * page_size] // page_size
    the target's SWA pool                mapping[R[req, p * page_size]] // page_size

Columns beyond a row's length are unspecified, and what the dump does not hold
is unknown, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triage.dump.footprint import Columns, columns_read
from triage.dump.sections import Dump, Tables

MAX_QUERY_TOKENS = 1 << 32  # of one row; the offsets of a damaged launch may say anything
FILL_TOKENS = 1  # SGLang's length of a row that holds no request, before a mode adds to it
UNKNOWN = -1  # no page of any pool has a negative id


@dataclass(frozen=True, slots=True)
class PageIds:
    """Page ids of a launch's rows in both index spaces, `(rows, width)`, UNKNOWN where not stored.

    `slots` are the full-pool slots of the page starts themselves, `swa_slots` the SWA slots
    that they are mapped to.
    """

    slots: np.ndarray
    full: np.ndarray
    swa: np.ndarray | None  # None: the dump holds no mapping
    swa_slots: np.ndarray | None


def page_ids(dump: Dump) -> PageIds | None:
    """The ids that request table and mapping give; None if the dump has no request table."""
    tables, launch = dump.tables, dump.launch
    if tables is None or launch is None or tables.req_to_token is None:
        return None
    width = int(np.diff(tables.page_table.offsets).max(initial=0))
    slots = tables.req_to_token.padded(UNKNOWN, width=width, dtype=np.int64)
    full = _pages(slots, launch.page_size)
    if tables.mapping is None:
        return PageIds(slots, full, None, None)
    swa_slots = translate(slots, tables.mapping)
    return PageIds(slots, full, _pages(swa_slots, launch.page_size), swa_slots)


def _pages(slots: np.ndarray, page_size: int) -> np.ndarray:
    pages = slots // page_size
    pages[slots < 0] = UNKNOWN
    return pages


def translate(slots: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    """The SWA slot of each full-pool slot, UNKNOWN for one that `mapping` does not list."""
    if not len(mapping):
        return np.full_like(slots, UNKNOWN)
    order = np.argsort(mapping[:, 0], kind="stable")
    known, peers = mapping[order, 0], mapping[order, 1]
    place = np.searchsorted(known, slots)
    np.minimum(place, len(known) - 1, out=place)
    unknown = known[place] != slots
    found = peers[place].astype(np.int64, copy=False)
    found[unknown] = UNKNOWN
    return found


def reads_target_swa(dump: Dump) -> bool:
    """Must the table of this launch hold SWA page ids?"""
    return dump.pools is not None and dump.pools.read == "swa"


def expected_ids(dump: Dump) -> np.ndarray | None:
    """The table that I2 demands, `(rows, width)` with UNKNOWN; None if the dump cannot tell."""
    return expected_of(dump, page_ids(dump))


def expected_of(dump: Dump, ids: PageIds | None) -> np.ndarray | None:
    """As `expected_ids`, where `page_ids(dump)` is known already: it is half of the work."""
    if ids is None:
        return _recorded(dump.tables)
    if dump.pools is None:
        return None
    return ids.swa if reads_target_swa(dump) else ids.full


def _recorded(tables: Tables | None) -> np.ndarray | None:
    """The ids that a trap found right at the time, in the width of the table."""
    if tables is None or tables.expected is None:
        return None
    width = int(np.diff(tables.page_table.offsets).max(initial=0))
    return tables.expected.padded(UNKNOWN, width=width, dtype=np.int64)


def query_lens(dump: Dump) -> np.ndarray | int:
    """Query tokens of each row of the launch; offsets that fall count as no tokens."""
    assert dump.launch is not None and dump.tables is not None
    rows, offsets = len(dump.tables.cache_seqlens), dump.launch.cum_seq_lens_q
    if offsets is not None and len(offsets) > rows:
        return np.clip(np.diff(offsets[: rows + 1].astype(np.int64)), 0, MAX_QUERY_TOKENS)
    return dump.launch.q_len_per_req or 1


def launch_columns(dump: Dump) -> Columns:
    """The columns this launch reads, see `columns_read`."""
    assert dump.launch is not None and dump.tables is not None
    return columns_read(
        dump.tables.cache_seqlens,
        query_lens(dump),
        page_size=dump.launch.page_size,
        window_left=dump.launch.window_left,
    )


def visible(dump: Dump, width: int) -> np.ndarray:
    """`(rows, width)` mask of the stored entries that some query of a real row can see."""
    edges = launch_columns(dump)
    column = np.arange(width)
    mask = (column >= edges.must_low[:, None]) & (column < edges.high[:, None])
    mask[real_rows(dump) :] = False
    stored_from = tables_of(dump).stored_from
    if stored_from is not None:
        mask &= column >= stored_from[:, None]
    return mask


def real_rows(dump: Dump) -> int:
    """Rows of the launch before CUDA-graph padding begins.

    The recorded batch size tells, where the hook saw the size before padding. Where it saw
    the padded one, padding is the last rows that have the reserved request 0 and one length
    that padding can have: the fill value 1, plus the query tokens and the draft step that a
    mode adds. A longer row of request 0 is a request that was lost, and is judged.

    Source: SGLang's graph input buffers fill `req_pool_indices` with 0 and lengths with
    `get_cuda_graph_seq_len_fill_value`; row 0 of its request table belongs to nobody.
    """
    tables, backend = tables_of(dump), dump.backend
    rows = len(tables.cache_seqlens)
    if backend is not None:
        rows = min(rows, backend.batch_size)
    requests = tables.req_pool_indices
    if requests is None or dump.launch is None or not rows or requests[rows - 1] != 0:
        return rows
    queries = query_lens(dump)
    queries = queries if isinstance(queries, int) else int(queries[rows - 1])
    step = (backend.speculative_step or 0) if backend is not None else 0
    length = int(tables.cache_seqlens[rows - 1])
    if not 0 <= length <= FILL_TOKENS + max(queries, 1) + max(step, 0):
        return rows
    same = (requests[:rows] == 0) & (tables.cache_seqlens[:rows] == length)
    last_other = np.flatnonzero(~same)
    return int(last_other[-1]) + 1 if len(last_other) else 0


def tables_of(dump: Dump) -> Tables:
    """The tables of a dump that is known to hold them."""
    assert dump.tables is not None
    return dump.tables
