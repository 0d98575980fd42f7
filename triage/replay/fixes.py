"""The same launch as it would have been with a fix: what each does to the table.

`state-swap` is the fix: it rebuilds the table the way SGLang's own builder does
once its SWA state is that of the pool it reads. `clamp` is here for comparison
only: it forces every id into the cache, which hides the fault and reads pages
of other requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from triage.dump.expected_ids import (
    UNKNOWN,
    expected_ids,
    reads_target_swa,
    tables_of,
    visible,
)
from triage.dump.sections import Dump, Ragged
from triage.errors import ReplayError, did_you_mean


def apply_fix(name: str, dump: Dump) -> Dump:
    """`dump` with the page table that the fix would have produced.

    Raises:
        ReplayError: for a name that is not known, or a dump that lacks what the fix needs.
    """
    if name not in FIXES:
        raise ReplayError(
            f"unknown fix {name!r}{did_you_mean(name, FIXES)}; known: {', '.join(FIXES)}"
        )
    if dump.launch is None or dump.tables is None:
        raise ReplayError(f"{name} needs a launch with its tables, which the dump does not hold")
    return FIXES[name](dump)


def _state_swap(dump: Dump) -> Dump:
    """Gather the page starts, look each up in the mapping, divide by the page size.

    Deliberately SGLang's own way (a lookup table over all slots), not that of
    `triage.dump.expected_ids`, so that one checks the other.
    """
    tables = tables_of(dump)
    assert dump.launch is not None
    if tables.req_to_token is None and tables.expected is not None:
        return _with_ids(dump, _worked_out_at_the_launch(dump))
    if dump.pools is None or tables.req_to_token is None:
        raise ReplayError("state-swap needs the request table, which the dump does not hold")
    starts = tables.req_to_token
    lengths = np.diff(tables.page_table.offsets)
    held = np.diff(starts.offsets)
    if (held < lengths).any():
        row = int(np.argmax(held < lengths))
        raise ReplayError(
            f"state-swap needs a page start for every entry of the page table; in row {row} the "
            f"dump holds {held[row]} of {lengths[row]}"
        )
    slots = Ragged.of(starts.padded(), lengths).values.astype(np.int64)
    if reads_target_swa(dump):
        if tables.mapping is None:
            raise ReplayError("state-swap needs the full-to-SWA mapping, which the dump lacks")
        lookup = _lookup_table(tables.mapping, int(slots.max(initial=0)))
        slots = lookup[np.clip(slots, 0, len(lookup) - 1)]
    ids = (slots // dump.launch.page_size).astype(tables.page_table.values.dtype)
    return _with_ids(dump, ids)


def _worked_out_at_the_launch(dump: Dump) -> np.ndarray:
    """The ids that the check on the device worked out of request table and mapping as they were.

    A flight recorder keeps them and neither table. Without those of every visible entry
    nothing can be said of the launch as a whole.
    """
    stored = tables_of(dump).page_table
    right = expected_ids(dump)
    assert right is not None
    seen = visible(dump, right.shape[1])
    known = seen & (right != UNKNOWN)
    if (known != seen).any():
        raise ReplayError(
            f"state-swap needs the request table, or the right page of every visible entry; the "
            f"dump holds neither: {int(known.sum())} of {int(seen.sum())} pages are known"
        )
    ids = np.where(known, right, stored.padded())
    return Ragged.of(ids, np.diff(stored.offsets)).values


def _lookup_table(mapping: np.ndarray, top: int) -> np.ndarray:
    limit = 1 << 28  # slots; a pool beyond this does not exist, a damaged dump may
    low, high = int(mapping[:, 0].min(initial=0)), max(top, int(mapping[:, 0].max(initial=0)))
    if low < 0 or high >= limit:
        raise ReplayError(
            f"state-swap cannot be applied: the full-to-SWA mapping and the request table name "
            f"slots from {low} to {high}; a pool has some of [0, {limit})"
        )
    lookup = np.zeros(high + 1, dtype=np.int64)
    lookup[mapping[:, 0]] = mapping[:, 1]
    return lookup


def _clamp(dump: Dump) -> Dump:
    assert dump.launch is not None
    stored = tables_of(dump).page_table.values
    return _with_ids(dump, np.clip(stored, 0, max(dump.launch.num_pages - 1, 0)))


def _with_ids(dump: Dump, ids: np.ndarray) -> Dump:
    tables = tables_of(dump)
    table = Ragged(ids.astype(tables.page_table.values.dtype), tables.page_table.offsets)
    return replace(dump, tables=replace(tables, page_table=table))


FIXES: dict[str, Callable[[Dump], Dump]] = {"state-swap": _state_swap, "clamp": _clamp}


def redirected_share(before: Dump, after: Dump) -> tuple[int, int]:
    """Visible entries that a fix changed, of all visible entries."""
    old = tables_of(before).page_table.padded()
    new = tables_of(after).page_table.padded()
    mask = visible(before, old.shape[1])
    return int((mask & (old != new)).sum()), int(mask.sum())
