"""The page table as the kernel reads it, which need not be the tensor that was passed.

The launcher takes the pointer as `int32*` and the row pitch as the last extent,
whatever the tensor's type and strides. So an int64 table is read as its low and
high words, and a column slice of a wider table with the slice's width as pitch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from triage.dump.sections import Dump, Ragged
from triage.evidence import TensorFacts

TABLE_ARGUMENT = "block_tables"
_WORDS = {"int32": 1, "int64": 2}  # 32-bit words an element; another type's bytes are not followed


class TableRead(NamedTuple):
    """`ids` is `(rows, width)`; `known` is False where the dump does not hold what was read."""

    ids: np.ndarray
    known: np.ndarray | None  # None: everything is known
    note: str


def misread(facts: TensorFacts | None) -> str:
    """Why the kernel reads something else than this table; empty if it does not."""
    if facts is None or len(facts.shape) != 2:
        return ""
    reasons = []
    if facts.dtype.removeprefix("torch.") != "int32":
        reasons.append(f"its type is {facts.dtype} and the kernel reads int32 words")
    if facts.shape[0] > 1 and facts.stride != (facts.shape[1], 1):
        reasons.append(
            f"its stride is {facts.stride} and the kernel reads rows {facts.shape[1]} apart"
        )
    return "; ".join(reasons)


def table_as_read(dump: Dump) -> TableRead:
    """The ids the kernel of this launch receives."""
    assert dump.launch is not None and dump.tables is not None
    facts = dump.launch.tensors.get(TABLE_ARGUMENT)
    stored = dump.tables.page_table
    reason = misread(facts)
    if facts is None or not reason:
        return TableRead(_to_full_width(stored.padded(), facts), None, "")
    note = f"the table is misread: {reason}"
    words = _WORDS.get(facts.dtype.removeprefix("torch."))
    if words is None or not len(stored.values):
        ids = np.zeros_like(stored.padded())
        return TableRead(ids, np.zeros(ids.shape, dtype=bool), note)
    return _reread(stored, facts, words, note)


def _to_full_width(table: np.ndarray, facts: TensorFacts | None) -> np.ndarray:
    """Zero columns up to the passed width, capped: no row of the dump is read there."""
    width = facts.shape[1] if facts is not None and len(facts.shape) == 2 else table.shape[1]
    missing = min(width, table.shape[1] + 1) - table.shape[1]
    return np.pad(table, ((0, 0), (0, max(missing, 0)))) if missing > 0 else table


def _reread(stored: Ragged, facts: TensorFacts, words: int, note: str) -> TableRead:
    """Follow each 32-bit word the kernel reads back to the element it is part of."""
    rows, pitch = len(stored), facts.shape[1]
    lengths = np.diff(stored.offsets)
    width = min(pitch, int(lengths.max(initial=0)))
    word = np.arange(rows)[:, None] * pitch + np.arange(width)[None, :]
    element, part = word // words, word % words
    row, column = element // max(facts.stride[0], 1), element % max(facts.stride[0], 1)
    known = (row < rows) & (column < lengths[np.minimum(row, rows - 1)])
    place = stored.offsets[np.minimum(row, rows - 1)] + column
    values = np.zeros((rows, width), dtype=np.int64)
    values[known] = stored.values[place[known]]
    if words == 2:
        values = np.where(part == 0, values & 0xFFFFFFFF, values >> 32)
        values = values.astype(np.uint32).view(np.int32).astype(np.int64)
    return TableRead(values, known, note)
