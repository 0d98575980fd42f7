"""The slots of a launch that was found wrong a step later, as the sections of a dump.

The failure: in `contain`, `log` and CUDA graphs the buffer of the slots has other contents by the
time the finding is known. The rule: the sections are made of what the check copied to the host
(`triage/device/kept_slots.py`) and of what the host knew of such launches; no device is asked.
What the copy lacks is left out and said in `Tables.source`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from triage.device.kept_slots import LOST, KeptLaunch, KeptRow
from triage.dump.consistency import MAX_TABLE_ENTRIES
from triage.dump.expected_ids import UNKNOWN
from triage.dump.from_ring import Recorded
from triage.dump.sections import Ragged, Tables
from triage.evidence import Evidence, Violation
from triage.sglang.packed_slots.dump import LaunchKind

MAX_POSITION = 1 << 20  # of a row; offsets that are not any may say more
SOURCE = (
    "packed slots of the launch, one column a token, copied by the check that stood before it, "
    "with req_to_token and mapping as they were then; not recorded: addresses and shapes of "
    "kv_indptr and kv_indices, and req_to_token below the window"
)


def sections_of(
    kind: LaunchKind,
    kept: KeptLaunch,
    offenders: Sequence[Violation] = (),
    excused: Sequence[Violation] = (),
    *,
    complete: bool = False,
) -> Recorded:
    """The launch that `kept` is.

    Args:
        offenders: what the checker said of this launch. A slot outside the pool that `contain`
            replaced stands in the table as it was packed: the offender has it.
        excused: entries that differ as well, of rows that the scheduler moved while the step was
            queued; nothing is said of what they should hold.
        complete: with `excused`, these are all that it found.
    """
    rows = kept.rows
    firsts = np.array([max(each.start, 0) for each in rows], dtype=np.int64)
    counts = np.array([_stored(each) for each in rows], dtype=np.int64)
    slots = _from_position_0([each.slots for each in rows], firsts, counts, 0)
    own = _from_position_0([each.own for each in rows], firsts, counts, UNKNOWN)
    right = _from_position_0([each.right for each in rows], firsts, counts, UNKNOWN)
    replaced = [each for each in (*offenders, *excused) if each.invariant == "I1"]
    for violation in replaced:
        _put(slots, violation, violation.value)
    for violation in excused:
        _put(own, violation, UNKNOWN)
        _put(right, violation, UNKNOWN)
    lost = slots.values == LOST
    requests = [each.request for each in rows]
    by_request = bool(rows) and None not in requests
    indices = np.array(requests, dtype=np.int64) if by_request else None
    tables = Tables(
        page_table=Ragged(np.where(lost, 0, slots.values).astype(np.int32), slots.offsets),
        cache_seqlens=_lengths(rows, firsts),
        stored_from=firsts if firsts.any() else None,
        req_pool_indices=indices,
        source="; ".join([SOURCE, *_lacks(kept, int(lost.sum()), replaced, excused, complete)]),
    )
    if by_request and (own.values != UNKNOWN).any():
        tables = replace(
            tables,
            req_to_token=Ragged(own.values.astype(np.int64), own.offsets),
            req_to_token_exceptions=np.zeros((0, 3), dtype=np.int64),
            mapping=_mapping(own.values, right.values) if kind.mapped else None,
            mapping_exceptions=np.zeros((0, 2), dtype=np.int64) if kind.mapped else None,
        )
    real = kept.all_rows
    if indices is not None and kept.all_rows == len(rows):
        real = int(np.flatnonzero(indices).max(initial=-1)) + 1
    longest = int(np.diff(slots.offsets).max(initial=0))
    return Recorded(
        replace(kind.launch, launch_id=kept.launch, max_seq_len=longest),
        tables,
        kind.pools,
        replace(kind.backend, batch_size=real, padded_batch_size=kept.all_rows),
    )


def cut_to_size(
    kept: KeptLaunch, fault: Evidence, report: Sequence[Sequence[Violation]]
) -> tuple[KeptLaunch, Evidence, list[list[Violation]]]:
    """What a reader takes of a launch, its table being a rectangle: wrong rows first.

    report: lists of what was found, whose rows are numbered anew, as those of `fault` are.
    Of a launch that is small enough nothing is changed; else the fact `rows` has what each row
    was in the launch.
    """
    wrong = dict.fromkeys(each.row for found in report for each in found)
    order = dict.fromkeys([*(row for row in wrong if row < len(kept.rows)), *range(len(kept.rows))])
    chosen: list[int] = []
    longest = 0
    for row in order:
        width = max(longest, max(kept.rows[row].start, 0) + _stored(kept.rows[row]))
        if (len(chosen) + 1) * width <= MAX_TABLE_ENTRIES:
            chosen.append(row)
            longest = width
    if len(chosen) == len(kept.rows):
        return kept, fault, [list(found) for found in report]
    place = {row: number for number, row in enumerate(sorted(chosen))}

    def moved(found: Sequence[Violation]) -> list[Violation]:
        return [replace(each, row=place[each.row]) for each in found if each.row in place]

    rows = tuple(kept.rows[row] for row in place)
    facts = {**fault.facts, "rows": list(place), "rows of the launch": kept.all_rows}
    fault = replace(fault, facts=facts, violations=tuple(moved(fault.violations)))
    return replace(kept, rows=rows, all_rows=len(rows)), fault, [moved(each) for each in report]


def cached_of(kept: KeptLaunch) -> list[int]:
    """Tokens of each row that were written before the launch, of one that reads those alone."""
    return [max(each.start, 0) + max(each.count, 0) for each in kept.rows]


def _stored(row: KeptRow) -> int:
    return 0 if row.slots is None else len(row.slots)


def _lengths(rows: Sequence[KeptRow], firsts: np.ndarray) -> np.ndarray:
    counts = np.array([max(each.count, 0) for each in rows], dtype=np.int64)
    return np.minimum(firsts + counts, MAX_POSITION)


def _from_position_0(
    pieces: list[np.ndarray | None], firsts: np.ndarray, counts: np.ndarray, below: int
) -> Ragged:
    """Rows by position; `below` stands in front of the first one. A row not kept is empty."""
    begins = np.where(counts > 0, np.minimum(firsts, MAX_POSITION), 0)
    offsets = np.concatenate([[0], np.cumsum(begins + counts)]).astype(np.int64)
    values = np.full(int(offsets[-1]), below, dtype=np.int64)
    for piece, start, first in zip(pieces, offsets, begins, strict=False):
        if piece is not None and len(piece):
            values[start + first : start + first + len(piece)] = piece
    return Ragged(values, offsets)


def _put(table: Ragged, violation: Violation, value: int) -> None:
    if 0 <= violation.row < len(table) and violation.tensor.endswith(("_indices", "block_tables")):
        row = table.row(violation.row)
        if 0 <= violation.column < len(row):
            row[violation.column] = value


def _mapping(own: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`(n, 2)` of full slot and SWA slot; -1 is what a mapping has for a slot without one."""
    known = own != UNKNOWN
    return np.unique(np.stack([own[known], right[known]], axis=1), axis=0)


def _lacks(
    kept: KeptLaunch,
    lost: int,
    replaced: Sequence[Violation],
    excused: Sequence[Violation],
    complete: bool,
) -> list[str]:
    found = []
    if kept.all_rows > len(kept.rows):
        found.append(f"not recorded: rows from {len(kept.rows)} on, of {kept.all_rows}")
    if missing := sum(each.slots is None for each in kept.rows):
        found.append(f"not recorded: the slots of {missing} rows, for which no room was left")
    if lost:
        found.append(f"{lost} slots lie past the end of the buffer and stand as 0")
    if replaced and not complete:
        found.append("slots outside the pool that the report does not list stand as 0")
    if excused:
        found.append(f"{len(excused)} of rows moved meanwhile are not judged")
    return found
