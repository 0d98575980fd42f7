"""Cut a launch down without making it another one: rows, columns, lengths, window, heads.

Each function returns a dump that some smaller server could have produced: the
facts of its tensors, its lengths and its mapping agree with what is left.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from triage.dump.expected_ids import query_lens, tables_of
from triage.dump.sections import Dump, Launch, Pools, Ragged, Tables
from triage.evidence import TensorFacts

_PROVENANCE_KEPT = ("versions", "sglang", "flashinfer", "gpu", "arch", "sm_count")


def keep_rows(dump: Dump, rows: list[int]) -> Dump:
    """Only the given rows, in their order."""
    tables = tables_of(dump)
    chosen = np.asarray(rows, dtype=np.int64)
    q_lens = _q_lens(dump)[chosen]
    smaller = Tables(
        page_table=_rows_of(tables.page_table, chosen),
        cache_seqlens=tables.cache_seqlens[chosen],
        req_pool_indices=None
        if tables.req_pool_indices is None
        else tables.req_pool_indices[chosen],
        req_to_token=None if tables.req_to_token is None else _rows_of(tables.req_to_token, chosen),
        req_to_token_exceptions=_renumbered(tables.req_to_token_exceptions, chosen),
        mapping=tables.mapping,
        mapping_exceptions=tables.mapping_exceptions,
        expected=None if tables.expected is None else _rows_of(tables.expected, chosen),
        stored_from=None if tables.stored_from is None else tables.stored_from[chosen],
        source=tables.source,
        request_ids=tuple(tables.request_ids[row] for row in rows) if tables.request_ids else (),
    )
    backend = dump.backend
    if backend is not None:
        real = int((chosen < backend.batch_size).sum())
        backend = replace(backend, batch_size=real, padded_batch_size=len(rows))
    return _consistent(replace(dump, tables=smaller, backend=backend), q_lens)


def drop_leading(dump: Dump, columns: int) -> Dump:
    """Without the first `columns` columns of every row: positions move by whole pages."""
    tables = tables_of(dump)
    assert dump.launch is not None
    tokens = columns * dump.launch.page_size
    exceptions = tables.req_to_token_exceptions
    if exceptions is not None:
        exceptions = exceptions[exceptions[:, 1] >= tokens] - np.array([0, tokens, 0])
    smaller = replace(
        tables,
        page_table=_without_leading(tables.page_table, columns),
        cache_seqlens=tables.cache_seqlens - tokens,
        req_to_token=None
        if tables.req_to_token is None
        else _without_leading(tables.req_to_token, columns),
        req_to_token_exceptions=exceptions,
        expected=None if tables.expected is None else _without_leading(tables.expected, columns),
        stored_from=None
        if tables.stored_from is None
        else np.maximum(tables.stored_from - columns, 0),
    )
    width = _width(dump)
    cut = replace(dump, tables=smaller)
    return _consistent(_with_width(cut, max(width - columns, 0)), _q_lens(dump))


def cut_lengths(dump: Dump, lengths: np.ndarray, window_left: int) -> Dump:
    """Shorter rows and another window; the columns that no row needs any more go too.

    Args:
        dump: with a launch and tables; not changed.
        lengths: `(rows,)`, integer, tokens, the queries included; none longer than it is.
        window_left: keys visible besides a query's own, -1 for all of them.
    """
    assert dump.launch is not None
    tables, page_size = tables_of(dump), dump.launch.page_size
    columns = -(-lengths.astype(np.int64) // page_size)
    exceptions = tables.req_to_token_exceptions
    if exceptions is not None:
        exceptions = exceptions[exceptions[:, 1] < lengths[exceptions[:, 0]]]
    smaller = replace(
        tables,
        page_table=_without_trailing(tables.page_table, columns),
        cache_seqlens=lengths.astype(tables.cache_seqlens.dtype),
        req_to_token=None
        if tables.req_to_token is None
        else _without_trailing(tables.req_to_token, columns),
        req_to_token_exceptions=exceptions,
        expected=None if tables.expected is None else _without_trailing(tables.expected, columns),
    )
    launch = replace(dump.launch, window_left=window_left)
    cut = replace(dump, tables=smaller, launch=launch)
    width = min(_width(dump), max(int(columns.max(initial=1)), 1))
    return _consistent(_with_width(cut, width), _q_lens(dump))


def with_one_query(dump: Dump) -> Dump:
    """One query token per row."""
    return _consistent(dump, np.ones(len(tables_of(dump).cache_seqlens), dtype=np.int64))


def with_heads(dump: Dump, num_q_heads: int, num_kv_heads: int, head_dim: int) -> Dump:
    assert dump.launch is not None
    launch = replace(
        dump.launch, num_q_heads=num_q_heads, num_kv_heads=num_kv_heads, head_dim=head_dim
    )
    return _consistent(replace(dump, launch=launch, kv=None), _q_lens(dump))


def strip(dump: Dump) -> Dump:
    """Without what no verdict rests on: history, values, unused mapping entries, layers."""
    provenance = {key: dump.provenance[key] for key in _PROVENANCE_KEPT if key in dump.provenance}
    tables = tables_of(dump)
    if tables.req_to_token is not None:
        tables = replace(
            tables,
            mapping=_used(tables.mapping, tables.req_to_token, exact=True, dump=dump),
            mapping_exceptions=_used(
                tables.mapping_exceptions, tables.req_to_token, exact=False, dump=dump
            ),
        )
    pools = dump.pools
    if pools is not None:
        pools = Pools(
            pools=tuple(replace(pool, layers=(), extents=()) for pool in pools.pools),
            read=pools.read,
            table_space=pools.table_space,
        )
    return replace(
        dump, history=(), provenance=provenance, tables=tables, pools=pools, kv=None, extra={}
    )


def _consistent(dump: Dump, q_lens: np.ndarray) -> Dump:
    """The launch's sizes and tensor facts follow its rows, width, heads and queries."""
    assert dump.launch is not None
    launch, tables = dump.launch, tables_of(dump)
    rows = len(tables.cache_seqlens)
    if launch.cum_seq_lens_q is None:
        launch = replace(launch, q_len_per_req=int(q_lens[0]) if rows else 1)
    else:
        launch = replace(launch, cum_seq_lens_q=np.concatenate([[0], np.cumsum(q_lens)]))
    if launch.cum_seq_lens_kv is not None:
        lengths = tables.cache_seqlens.astype(np.int64)
        launch = replace(launch, cum_seq_lens_kv=np.concatenate([[0], np.cumsum(lengths)]))
    shapes = {
        "query": (int(q_lens.sum()), launch.num_q_heads, launch.head_dim),
        "seq_lens": (rows,),
    }
    tensors = {}
    for name, facts in launch.tensors.items():
        if name in shapes:
            tensors[name] = _contiguous(facts, shapes[name])
        elif name == "block_tables" and len(facts.shape) == 2:
            shape = (rows, facts.shape[1])
            tensors[name] = replace(facts, shape=shape)
        elif name in ("k_cache", "v_cache"):
            tensors[name] = _contiguous(facts, _cache_shape(launch))
    launch = replace(launch, tensors=tensors)
    return replace(dump, launch=launch)


def _cache_shape(launch: Launch) -> tuple[int, ...]:
    middle = (launch.num_kv_heads, launch.page_size)
    if launch.kv_layout != "HND":
        middle = (launch.page_size, launch.num_kv_heads)
    return (launch.num_pages, *middle, launch.head_dim)


def _contiguous(facts: TensorFacts, shape: tuple[int, ...]) -> TensorFacts:
    stride = tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))
    return replace(facts, shape=shape, stride=stride, storage_offset=0, storage_bytes=0, data_ptr=0)


def _with_width(dump: Dump, width: int) -> Dump:
    """A table of `width` columns that keeps how far apart its rows were beyond their width."""
    assert dump.launch is not None
    facts = dump.launch.tensors.get("block_tables")
    if facts is None or len(facts.shape) != 2:
        return dump
    gap = facts.stride[0] - facts.shape[1]
    table = replace(facts, shape=(facts.shape[0], width), stride=(width + gap, facts.stride[1]))
    tensors = {**dump.launch.tensors, "block_tables": table}
    return replace(dump, launch=replace(dump.launch, tensors=tensors))


def _width(dump: Dump) -> int:
    assert dump.launch is not None
    facts = dump.launch.tensors.get("block_tables")
    if facts is not None and len(facts.shape) == 2:
        return facts.shape[1]
    return int(np.diff(tables_of(dump).page_table.offsets).max(initial=0))


def _q_lens(dump: Dump) -> np.ndarray:
    rows = len(tables_of(dump).cache_seqlens)
    return np.broadcast_to(np.asarray(query_lens(dump), dtype=np.int64), (rows,)).copy()


def _rows_of(ragged: Ragged, rows: np.ndarray) -> Ragged:
    return _ragged([ragged.row(int(row)) for row in rows], ragged.values.dtype)


def _without_leading(ragged: Ragged, columns: int) -> Ragged:
    return _ragged([ragged.row(row)[columns:] for row in range(len(ragged))], ragged.values.dtype)


def _without_trailing(ragged: Ragged, columns: np.ndarray) -> Ragged:
    rows = [ragged.row(row)[: columns[row]] for row in range(len(ragged))]
    return _ragged(rows, ragged.values.dtype)


def _ragged(rows: list[np.ndarray], dtype: np.dtype) -> Ragged:
    values = np.concatenate(rows) if rows else np.zeros(0, dtype=dtype)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Ragged(values.astype(dtype), offsets.astype(np.int64))


def _renumbered(exceptions: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    if exceptions is None:
        return None
    place = {int(row): index for index, row in enumerate(rows)}
    kept = [[place[row], at, slot] for row, at, slot in exceptions.tolist() if row in place]
    return np.array(kept, dtype=exceptions.dtype).reshape(-1, 3)


def _used(
    mapping: np.ndarray | None, starts: Ragged, *, exact: bool, dump: Dump
) -> np.ndarray | None:
    """The mapping entries of slots in `starts`, or of any slot on their pages."""
    if mapping is None:
        return None
    assert dump.launch is not None
    page = 1 if exact else dump.launch.page_size
    return mapping[np.isin(mapping[:, 0] // page, starts.values.astype(np.int64) // page)]
