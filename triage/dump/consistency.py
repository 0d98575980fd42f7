"""Do the parts of a dump agree with each other and stay within any real server's sizes?

Checked once when a dump is written and once when it is read, so that show,
replay and explain may index rows and divide by a page size without looking.
Ids and lengths are not judged here: wrong ones are what a dump is for.
"""

from __future__ import annotations

import numpy as np

from triage.dump.sections import Dump, Launch, Pools, Ragged, Tables
from triage.errors import DumpError

MAX_ROWS = 1 << 13
MAX_TABLE_ENTRIES = 3 << 18
"""Rows times the longest row: 96 rows of 131,072 tokens in pages of 16. Readers see a table as
a rectangle, several at a time, so this bounds their memory where a small file could ask for
gigabytes of it."""
MAX_TOKENS = 1 << 40
MAX_EXTENT = 1 << 48
_LAUNCH_LIMITS = {
    "page_size": (1, 1 << 16),
    "num_q_heads": (1, 1 << 12),
    "num_kv_heads": (1, 1 << 12),
    "head_dim": (1, 1 << 12),
    "num_pages": (0, 1 << 40),
    "window_left": (-1, 1 << 32),
    "max_seq_len": (0, 1 << 40),
    "q_len_per_req": (0, 1 << 20),
}


def check_consistency(dump: Dump) -> None:
    """Raise DumpError with the first contradiction found."""
    if dump.launch is not None:
        _check_launch(dump.launch)
    if dump.pools is not None:
        _check_pools(dump.pools)
    if dump.backend is not None and not 0 <= dump.backend.batch_size <= MAX_ROWS:
        raise DumpError(
            f"backend: batch_size = {dump.backend.batch_size} is outside [0, {MAX_ROWS}]"
        )
    if dump.tables is not None:
        _check_tables(dump.tables)
    if dump.launch is not None:
        # Wrong offsets are what a dump may be for, so only their form is judged.
        _check_array("cum_seq_lens_q", dump.launch.cum_seq_lens_q, (-1,))
        _check_array("cum_seq_lens_kv", dump.launch.cum_seq_lens_kv, (-1,))


def _check_launch(launch: Launch) -> None:
    for name, (low, high) in _LAUNCH_LIMITS.items():
        value = getattr(launch, name)
        if not low <= value <= high:
            raise DumpError(f"launch: {name} = {value} is outside [{low}, {high}]")
    for name, facts in launch.tensors.items():
        extents, strides = (*facts.shape, 0), (*facts.stride, 0)
        if min(extents) < 0 or max(extents) > MAX_EXTENT or max(map(abs, strides)) > MAX_TOKENS:
            raise DumpError(
                f"launch: {name} has shape {facts.shape} and stride {facts.stride}; extents lie "
                f"in [0, {MAX_EXTENT}], strides in [{-MAX_TOKENS}, {MAX_TOKENS}]"
            )
        if len(facts.shape) != len(facts.stride):
            raise DumpError(
                f"launch: {name} has {len(facts.stride)} strides {facts.stride} for "
                f"{len(facts.shape)} extents {facts.shape}"
            )


def _check_pools(pools: Pools) -> None:
    for pool in pools.pools:
        if pool.page_size < 1 or pool.num_pages < 0:
            raise DumpError(
                f"pools: {pool.name} has page size {pool.page_size} and {pool.num_pages} pages; "
                "allowed: a page size of at least 1, at least 0 pages"
            )


def _check_tables(tables: Tables) -> None:
    _check_array("cache_seqlens", tables.cache_seqlens, (-1,))
    rows = len(tables.cache_seqlens)
    if rows > MAX_ROWS:
        raise DumpError(f"tables: {rows} rows are more than the {MAX_ROWS} this reader accepts")
    _check_range("cache_seqlens", tables.cache_seqlens, -MAX_TOKENS, MAX_TOKENS)
    _check_ragged("page_table", tables.page_table, rows)
    if tables.req_to_token is not None:
        _check_ragged("req_to_token", tables.req_to_token, rows)
    _check_array("req_pool_indices", tables.req_pool_indices, (rows,))
    if tables.expected is not None:
        _check_ragged("expected", tables.expected, rows)
    _check_array("stored_from", tables.stored_from, (rows,))
    if tables.request_ids and len(tables.request_ids) != rows:
        raise DumpError(f"tables: {len(tables.request_ids)} request ids for {rows} rows")
    _check_array("req_to_token_exceptions", tables.req_to_token_exceptions, (-1, 3))
    if tables.req_to_token_exceptions is not None:
        _check_range("req_to_token_exceptions", tables.req_to_token_exceptions[:, 0], 0, rows - 1)
    _check_array("mapping", tables.mapping, (-1, 2))
    _check_array("mapping_exceptions", tables.mapping_exceptions, (-1, 2))


def _check_ragged(name: str, ragged: Ragged, rows: int) -> None:
    _check_array(f"{name}.values", ragged.values, (-1,))
    _check_array(f"{name}.offsets", ragged.offsets, (rows + 1,))
    offsets = ragged.offsets
    longest = int(np.diff(offsets).max(initial=0))
    if rows * longest > MAX_TABLE_ENTRIES:
        raise DumpError(
            f"tables: {name} has {rows} rows of up to {longest} entries; this reader accepts "
            f"{MAX_TABLE_ENTRIES} as a rectangle"
        )
    rising = bool(np.all(offsets[1:] >= offsets[:-1]))
    if offsets[0] != 0 or offsets[-1] != len(ragged.values) or not rising:
        raise DumpError(f"tables: {name} does not have one slice for each of {rows} rows")


def _check_array(name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
    """Signed integers of that shape, -1 standing for any extent; None passes."""
    if array is None:
        return
    fits = array.ndim == len(shape) and all(
        want in (-1, got) for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind != "i":
        wanted = ", ".join("any" if extent == -1 else str(extent) for extent in shape)
        raise DumpError(
            f"tables: {name} is {array.dtype} of shape {array.shape}; "
            f"allowed: signed integers of shape ({wanted})"
        )


def _check_range(name: str, values: np.ndarray, low: int, high: int) -> None:
    outside = (values < low) | (values > high)
    if outside.any():
        raise DumpError(f"tables: {name} holds {values[outside][0]}, outside [{low}, {high}]")
