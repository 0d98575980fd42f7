"""E4B-size dumps of eight injected causes, any number of them, no two alike.

All are made of one recorded launch (`dumps/e4b_stale_swa_state.msgpack`): its table is written
anew as each defect would have written it. What tells one dump of a cause from another is what
does so in a fleet: time, process, launch, and the order of the rows in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from triage.dump.expected_ids import UNKNOWN, page_ids
from triage.dump.file import encode
from triage.dump.sections import Dump, Ragged
from triage.evidence import Evidence

FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def _with_table(dump: Dump, ids: np.ndarray, **state: Any) -> Dump:
    tables = dump.tables
    assert tables is not None and dump.backend is not None
    lengths = np.diff(tables.page_table.offsets)
    table = Ragged.of(ids.astype(np.int32), lengths)
    backend = replace(dump.backend, **state)
    return replace(dump, tables=replace(tables, page_table=table), backend=backend)


def _right(dump: Dump) -> np.ndarray:
    ids = page_ids(dump)
    assert ids is not None and ids.swa is not None
    return np.where(ids.swa == UNKNOWN, 0, ids.swa)


def _full(dump: Dump) -> np.ndarray:
    ids = page_ids(dump)
    assert ids is not None
    return np.where(ids.full == UNKNOWN, 0, ids.full)


def _page_size(dump: Dump) -> int:
    assert dump.launch is not None
    return dump.launch.page_size


_FINE = {"swa_state": {"use_sliding_window_kv_pool": "True", "_swa_kv_pool": "SWAKVPool"}}


def _misread(dump: Dump) -> Dump:
    assert dump.launch is not None
    facts = dump.launch.tensors["block_tables"]
    wide = replace(facts, dtype="int64", storage_bytes=2 * facts.storage_bytes)
    tensors = {**dump.launch.tensors, "block_tables": wide}
    return replace(
        _with_table(dump, _right(dump), **_FINE), launch=replace(dump.launch, tensors=tensors)
    )


def _narrow(dump: Dump) -> Dump:
    assert dump.launch is not None
    facts = dump.launch.tensors["block_tables"]
    rows, columns = facts.shape[0], facts.shape[1] // 4
    narrow = replace(facts, shape=(rows, columns), stride=(columns, 1))
    tensors = {**dump.launch.tensors, "block_tables": narrow}
    return replace(
        _with_table(dump, _right(dump), **_FINE), launch=replace(dump.launch, tensors=tensors)
    )


def _double_free(dump: Dump) -> Dump:
    """Its launch is sound: the allocator's check told it."""
    fault = Evidence("I5", "a page is freed twice", "free_swa", pool="swa", kind="freed twice")
    return replace(_with_table(dump, _right(dump), **_FINE), fault=fault)


CAUSES = {
    "stale state": "stale-swa-state",
    "full ids": "full-ids-in-swa-layer",
    "slots": "slots-as-pages",
    "divided": "divided-twice",
    "rows": "other-requests-row",
    "narrow": "narrow-table",
    "int64": "misread-table",
    "freed": "double-free",
}
"""Defect -> the cause that it has to be named as."""

DEFECTS: dict[str, Callable[[Dump], Dump]] = {
    "stale state": lambda dump: dump,
    "full ids": lambda dump: _with_table(dump, _full(dump), **_FINE),
    "slots": lambda dump: _with_table(dump, _full(dump) * _page_size(dump), **_FINE),
    "divided": lambda dump: _with_table(dump, _right(dump) // _page_size(dump), **_FINE),
    "rows": lambda dump: _with_table(dump, np.roll(_right(dump), 1, axis=0), **_FINE),
    "narrow": _narrow,
    "int64": _misread,
    "freed": _double_free,
}


def dumps(recorded: Dump, count: int) -> Iterator[tuple[str, bytes]]:
    """(defect, file) of `count` dumps, each defect as often as the others.

    Rows come in another order in every dump.
    """
    made = {name: defect(recorded) for name, defect in DEFECTS.items()}
    for number in range(count):
        name = list(DEFECTS)[number % len(DEFECTS)]
        yield name, encode(_another(made[name], number))


def _another(dump: Dump, number: int) -> Dump:
    launch, tables = dump.launch, dump.tables
    assert launch is not None and tables is not None
    rows = len(tables.cache_seqlens)
    order = np.random.default_rng(number).permutation(rows)
    told = {
        "time": (FIRST + timedelta(minutes=4 * number)).isoformat(),
        "pid": 1000 + number,
        "rank": str(number % 8),
    }
    tables = replace(
        tables,
        page_table=_rows(tables.page_table, order),
        cache_seqlens=tables.cache_seqlens[order],
        req_pool_indices=_taken(tables.req_pool_indices, order),
        req_to_token=None if tables.req_to_token is None else _rows(tables.req_to_token, order),
        req_to_token_exceptions=_exceptions(tables.req_to_token_exceptions, order),
    )
    return replace(
        dump,
        launch=replace(launch, launch_id=launch.launch_id + number),
        tables=tables,
        provenance={**dump.provenance, **told},
    )


def _rows(ragged: Ragged, order: np.ndarray) -> Ragged:
    values = [ragged.row(int(row)) for row in order]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in values])])
    return Ragged(np.concatenate(values), offsets.astype(np.int64))


def _taken(array: np.ndarray | None, order: np.ndarray) -> np.ndarray | None:
    return None if array is None else array[order]


def _exceptions(found: np.ndarray | None, order: np.ndarray) -> np.ndarray | None:
    if found is None or not len(found):
        return found
    moved = found.copy()
    moved[:, 0] = np.argsort(order)[found[:, 0]]
    return moved
