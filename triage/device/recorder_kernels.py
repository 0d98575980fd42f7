"""One launch into the flight recorder's ring: a Triton kernel and its eager twin.

The kernel runs on the GPU and writes host memory that is pinned, so whatever
it wrote is readable after the CUDA context died. It may be recorded into a
graph: the slot it writes comes from a cursor on the device, for a fixed
address would overwrite one slot at every replay.

A lane is the ring of one index space, in one of two forms:

    windowed  `columns` > 0: every slot holds each row's newest window columns
    changes   `columns` == 0: a mirror holds each owner's whole row as of the newest
              launch, every slot the cells that launch changed, with the old value

Owners of mirror rows are request indices, so that a batch that loses a row
changes nothing; without request indices they are row numbers.

Cursor, int64 on the device: LAUNCHES, DONE (programs finished), CELLS (changes so far), and
the fingerprints of the running launch (`fingerprints.py`): of its table's recorded columns, of
its requests and of its lengths, rows of graph padding left out.

Long because the kernel and its twin write one layout, field by field.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage.device.checker_kernels import CURSOR as CHECKER_CURSOR
from triage.device.checker_kernels import LAUNCHES as CHECKER_LAUNCHES
from triage.device.checker_kernels import LOCATIONS as CHECKER_LOCATIONS
from triage.device.fingerprints import ROW, fingerprint, fingerprint_eager

LAUNCHES, DONE, CELLS, TABLE_PRINT, REQUEST_PRINT, LENGTH_PRINT = range(6)
CURSOR = 6
"""Numbers of a lane's cursor."""

# Columns of a slot's header. BEGUN and COMPLETE hold launch + 1 and differ in a torn slot.
# Behind OFFENDERS three fingerprints, and that of all locations the checker saw written so far.
BEGUN, COMPLETE, SEQUENCE, TAG, ROWS, WIDTH, CHANGED, CHECKED, OFFENDERS = range(9)
OF_TABLE, OF_REQUESTS, OF_LENGTHS, OF_LOCATIONS = range(9, 13)
HEADER = 16

# Columns of a row's entry, and of a change.
LENGTH, REQUEST, QUERIES, START = range(4)
OWNER, COLUMN, OLD, NEW = range(4)

NOBODY = -1
"""Request of a row whose request index the recorder was not given."""

_LAUNCHES, _DONE, _CELLS, _TABLE_PRINT, _REQUEST_PRINT, _LENGTH_PRINT = (
    tl.constexpr(n) for n in range(CURSOR)
)
_BEGUN, _COMPLETE, _SEQUENCE, _TAG, _ROWS, _WIDTH, _CHANGED, _CHECKED, _OFFENDERS = (
    tl.constexpr(n) for n in range(9)
)
_OF_TABLE, _OF_REQUESTS, _OF_LENGTHS, _OF_LOCATIONS = (tl.constexpr(n) for n in range(9, 13))
_CHECKER_LAUNCHES = tl.constexpr(CHECKER_LAUNCHES)
_CHECKER_CURSOR = tl.constexpr(CHECKER_CURSOR)
_CHECKER_LOCATIONS = tl.constexpr(CHECKER_LOCATIONS)
_HEADER = tl.constexpr(HEADER)
_ROW = tl.constexpr(ROW)
_NOBODY = tl.constexpr(NOBODY)
_INT32_MAX = tl.constexpr(2**31 - 1)


@dataclass(frozen=True, slots=True)
class Lane:
    """The ring of one index space: its sizes and its buffers.

    On the device: cursor `(CURSOR,)` int64; shadow `(owners, max_columns)` int32.
    On the host, pinned where there is a GPU: header `(slots, HEADER)` int64; rows
    `(slots, max_rows, 4)` int32; cells `(slots, max_rows, columns)` or `(slots,
    changes, 4)` int32; mirror `(owners, max_columns)` int32. A windowed lane's
    shadow and mirror have no rows.
    """

    name: str
    page_size: int
    slots: int
    max_rows: int
    max_columns: int
    columns: int
    changes: int
    owners: int
    cursor: Tensor
    shadow: Tensor
    header: Tensor
    rows: Tensor
    cells: Tensor
    mirror: Tensor


SCALARS = ("table_stride", "width", "all_rows", "window_left", "q_len", "tag")


@triton.jit(do_not_specialize=SCALARS)
def record_kernel(
    cursor_ptr,
    sequence_ptr,  # [1] int64 on the device, shared by all lanes
    checker_ptr,  # [its HEADER] int64: the state of the device checker
    table_ptr,  # [rows, width], row stride table_stride, column stride 1
    length_ptr,  # [rows]
    query_ptr,  # [rows] or [rows + 1], by QUERIES
    request_ptr,  # [rows]
    shadow_ptr,
    header_ptr,
    rows_ptr,
    cells_ptr,
    mirror_ptr,
    table_stride,
    width,
    all_rows,  # of the launch; the grid has at most MAX_ROWS
    window_left,
    q_len,
    tag,
    PAGE: tl.constexpr,
    QUERIES: tl.constexpr,  # 0: q_len; 1: query_ptr per row; 2: query_ptr is a prefix sum
    BY_REQUEST: tl.constexpr,
    CHECKER: tl.constexpr,
    SLOTS: tl.constexpr,
    MAX_ROWS: tl.constexpr,
    MAX_COLUMNS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHANGES: tl.constexpr,
    OWNERS: tl.constexpr,
    FINGERPRINT: tl.constexpr,  # False to measure what it costs
    BLOCK: tl.constexpr,
):
    """Record one row of a launch. Reads only live columns; every load is masked."""
    launch = tl.load(cursor_ptr + _LAUNCHES)
    slot = launch % SLOTS
    header = header_ptr + slot * _HEADER
    row = tl.program_id(0).to(tl.int64)
    if row == 0:
        tl.store(header + _BEGUN, launch + 1)
    width = width.to(tl.int64)
    length = tl.load(length_ptr + row).to(tl.int64)
    request = row * 0 + _NOBODY
    owner = row
    if BY_REQUEST:
        request = tl.load(request_ptr + row).to(tl.int64)
        owner = request
    if QUERIES == 2:
        queries = tl.load(query_ptr + row + 1).to(tl.int64) - tl.load(query_ptr + row).to(tl.int64)
    elif QUERIES == 1:
        queries = tl.load(query_ptr + row).to(tl.int64)
    else:
        queries = row * 0 + q_len
    prints = tl.zeros([BLOCK], dtype=tl.int64)
    live_columns = (tl.minimum(tl.maximum(length, 0), width * PAGE) + PAGE - 1) // PAGE
    start = row * 0
    if COLUMNS > 0:
        if window_left >= 0:
            start = tl.maximum(length - tl.maximum(queries, 1) - window_left, 0) // PAGE
        start = tl.minimum(tl.maximum(start, live_columns - COLUMNS), live_columns)
    entry = rows_ptr + (slot * MAX_ROWS + row) * 4
    low, high = -_INT32_MAX, _INT32_MAX
    tl.store(entry + 0, length.to(tl.int32))
    tl.store(entry + 1, tl.minimum(tl.maximum(request, low), high).to(tl.int32))
    tl.store(entry + 2, tl.minimum(tl.maximum(queries, low), high).to(tl.int32))
    tl.store(entry + 3, start.to(tl.int32))

    source = table_ptr + row * table_stride
    if COLUMNS > 0:
        kept = cells_ptr + (slot * MAX_ROWS + row) * COLUMNS
        for first in range(0, COLUMNS, BLOCK):
            place = first + tl.arange(0, BLOCK).to(tl.int64)
            wanted = (place < COLUMNS) & (start + place < live_columns)
            page = tl.load(source + start + place, mask=wanted, other=0)
            tl.store(kept + place, page.to(tl.int32), mask=wanted)
            if FINGERPRINT:
                at_place = row * _ROW + start + place + 1
                prints += tl.where(wanted, fingerprint(at_place, page.to(tl.int64)), 0)
    else:
        # Request 0 is graph padding: several rows share it and none means anything.
        owned = (owner >= 0) & (owner < OWNERS)
        if BY_REQUEST:
            owned = owned & (owner > 0)
        end = tl.where(owned, tl.minimum(live_columns, MAX_COLUMNS), 0)
        for first in range(0, end, BLOCK):
            column = first + tl.arange(0, BLOCK).to(tl.int64)
            wanted = column < end
            page = tl.load(source + column, mask=wanted, other=0).to(tl.int32)
            if FINGERPRINT:
                at_place = row * _ROW + column + 1
                prints += tl.where(wanted, fingerprint(at_place, page.to(tl.int64)), 0)
            at = owner * MAX_COLUMNS + column
            old = tl.load(shadow_ptr + at, mask=wanted, other=0)
            differs = wanted & (page != old)
            count = tl.sum(differs.to(tl.int64), axis=0)
            if count > 0:
                before = tl.atomic_add(cursor_ptr + _CELLS, count)
                place = before + tl.cumsum(differs.to(tl.int64), axis=0) - 1
                room = differs & (place < CHANGES)
                change = cells_ptr + (slot * CHANGES + place) * 4
                tl.store(change + 0, (at // MAX_COLUMNS).to(tl.int32), mask=room)
                tl.store(change + 1, column.to(tl.int32), mask=room)
                tl.store(change + 2, old, mask=room)
                tl.store(change + 3, page, mask=room)
                tl.store(shadow_ptr + at, page, mask=differs)
                tl.store(mirror_ptr + at, page, mask=differs)

    if FINGERPRINT:
        real = row * 0 + 1
        if BY_REQUEST:
            real = (request != 0).to(tl.int64)
        of_table = tl.sum(prints, axis=0) * real
        of_request = fingerprint(row + 1, request) * real
        of_length = fingerprint(row + 1, length) * real
        tl.atomic_add(cursor_ptr + _TABLE_PRINT, of_table, sem="relaxed")
        tl.atomic_add(cursor_ptr + _REQUEST_PRINT, of_request, sem="relaxed")
        tl.atomic_add(cursor_ptr + _LENGTH_PRINT, of_length, sem="relaxed")

    # Everything above must be on the host before the last program says so: the
    # barrier collects the program's warps, the ticket orders them system-wide.
    tl.debug_barrier()
    before = tl.atomic_add(cursor_ptr + _DONE, 1, sem="acq_rel", scope="sys")
    if before == tl.num_programs(0) - 1:
        sequence = tl.load(sequence_ptr)
        changed = tl.atomic_add(cursor_ptr + _CELLS, 0)
        tl.store(header + _SEQUENCE, sequence)
        tl.store(header + _TAG, launch * 0 + tag)
        tl.store(header + _ROWS, launch * 0 + all_rows)
        tl.store(header + _WIDTH, width)
        tl.store(header + _CHANGED, changed)
        if FINGERPRINT:
            tl.store(header + _OF_TABLE, tl.atomic_add(cursor_ptr + _TABLE_PRINT, 0))
            tl.store(header + _OF_REQUESTS, tl.atomic_add(cursor_ptr + _REQUEST_PRINT, 0))
            tl.store(header + _OF_LENGTHS, tl.atomic_add(cursor_ptr + _LENGTH_PRINT, 0))
            tl.store(cursor_ptr + _TABLE_PRINT, 0)
            tl.store(cursor_ptr + _REQUEST_PRINT, 0)
            tl.store(cursor_ptr + _LENGTH_PRINT, 0)
        if CHECKER:
            tl.store(header + _CHECKED, tl.load(checker_ptr + _CHECKER_LAUNCHES))
            tl.store(header + _OFFENDERS, tl.load(checker_ptr + _CHECKER_CURSOR))
            tl.store(header + _OF_LOCATIONS, tl.load(checker_ptr + _CHECKER_LOCATIONS))
        tl.store(header + _COMPLETE, launch + 1)
        tl.store(cursor_ptr + _DONE, 0)
        tl.store(cursor_ptr + _CELLS, 0)
        tl.store(cursor_ptr + _LAUNCHES, launch + 1)
        tl.store(sequence_ptr, sequence + 1)


def record_eager(
    lane: Lane,
    sequence: Tensor,
    checker_state: Tensor | None,
    block_tables: Tensor,
    cache_seqlens: Tensor,
    *,
    window_left: int,
    queries: Tensor,
    req_pool_indices: Tensor | None,
    tag: int,
) -> None:
    """Twin of `record_kernel` for CPU tensors; `queries` is `(rows,)`. Mutates the lane."""
    launch = int(lane.cursor[LAUNCHES])
    slot = launch % lane.slots
    header = lane.header[slot]
    header[BEGUN] = launch + 1
    width, page = block_tables.shape[1], lane.page_size
    rows = min(len(cache_seqlens), lane.max_rows)
    table = block_tables[:rows].to(torch.int32)
    length = cache_seqlens[:rows].to(torch.int64)
    queries = queries[:rows].to(torch.int64)
    owner = torch.arange(rows)
    request = torch.full((rows,), NOBODY)
    if req_pool_indices is not None:
        owner = request = req_pool_indices[:rows].to(torch.int64)
    live = (length.clamp(0, width * page) + page - 1) // page
    start = torch.zeros_like(length)
    if lane.columns:
        if window_left >= 0:
            start = (length - queries.clamp(min=1) - window_left).clamp(min=0) // page
        start = torch.minimum(torch.maximum(start, live - lane.columns), live)
    bound = 2**31 - 1
    columns = (length, request.clamp(-bound, bound), queries.clamp(-bound, bound), start)
    lane.rows[slot, :rows] = torch.stack(columns, dim=1).to(torch.int32)

    row_place = torch.arange(rows)[:, None] * ROW + 1
    changed = 0
    if lane.columns:
        place = torch.arange(lane.columns)
        source = start[:, None] + place
        kept = table.gather(1, source.clamp(max=width - 1))
        lane.cells[slot, :rows] = torch.where(source < live[:, None], kept, lane.cells[slot, :rows])
        printed, columns_of = source < live[:, None], source
    else:
        owned = (owner >= (req_pool_indices is not None)) & (owner < lane.owners)
        reach = min(width, lane.max_columns)
        at = owner.clamp(0, lane.owners - 1)[:, None], torch.arange(reach)[None, :]
        old = lane.shadow[at]
        wanted = owned[:, None] & (torch.arange(reach) < live[:, None])
        kept, printed, columns_of = table[:, :reach], wanted, torch.arange(reach)[None, :]
        row, column = (wanted & (table[:, :reach] != old)).nonzero().unbind(1)
        changed = len(row)
        new = table[row, column]
        changes = (owner[row], column, old[row, column], new)
        room = min(changed, lane.changes)
        lane.cells[slot, :room] = torch.stack(changes, dim=1)[:room].to(torch.int32)
        lane.shadow[owner[row], column] = new
        lane.mirror[owner[row], column] = new

    header[SEQUENCE] = sequence[0]
    header[TAG], header[ROWS], header[WIDTH] = tag, len(cache_seqlens), width
    header[CHANGED] = changed
    real = torch.ones(rows, dtype=torch.int64)
    if req_pool_indices is not None:
        real = (request != 0).to(torch.int64)
    prints = fingerprint_eager(row_place + columns_of, kept.to(torch.int64))
    header[OF_TABLE] = (torch.where(printed, prints, 0).sum(dim=1) * real).sum()
    header[OF_REQUESTS] = (fingerprint_eager(torch.arange(rows) + 1, request) * real).sum()
    header[OF_LENGTHS] = (fingerprint_eager(torch.arange(rows) + 1, length) * real).sum()
    if checker_state is not None:
        header[CHECKED] = checker_state[CHECKER_LAUNCHES]
        header[OFFENDERS] = checker_state[CHECKER_CURSOR]
        header[OF_LOCATIONS] = checker_state[CHECKER_LOCATIONS]
    header[COMPLETE] = launch + 1
    lane.cursor[LAUNCHES] += 1
    sequence += 1
