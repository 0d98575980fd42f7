"""One event at an allocator, written into the marks and the log of its pool by one launch.

`triage/sglang/allocator/page_log.py` says what the marks and the log are; its `HostLog` is this
kernel's twin. How many pages the slots are of is known to the device alone, so each program
takes the places of its own entries from a counter that lies there too: nothing is allocated,
nothing waits. Events of one launch have no order among themselves, those of two have.
"""

from __future__ import annotations

import triton
import triton.language as tl

SHARED, COMPARED, REMEMBERED = 1, 2, 4
"""What is to be done with an event, added up: a slot's position says whose it is; a row whose
page is that of `before` has no entry; the rows' pages become `before`."""

MARK_BITS = 31
"""Of a mark's lower part: each part is an int32, whatever the step."""

_SHARED, _COMPARED, _REMEMBERED = (tl.constexpr(n) for n in (SHARED, COMPARED, REMEMBERED))
_MARK_BITS = tl.constexpr(MARK_BITS)

SCALARS = (
    "count",
    "stride",
    "page_size",
    "num_pages",
    "capacity",
    "kind",
    "mark_high",
    "mark_low",
    "number",
    "form",
)


@triton.jit(do_not_specialize=SCALARS, do_not_specialize_on_alignment=("slots_ptr",))
def note_pages_kernel(
    slots_ptr,  # [count], int32 or int64, `stride` apart: any view of the caller's
    newest_ptr,  # [kinds, num_pages] int64
    log_ptr,  # [capacity] int64
    taken_ptr,  # [1] int64: entries ever taken
    before_ptr,  # [rows] int32, rows >= count where `form` has it read or written
    count,
    stride,
    page_size,
    num_pages,
    capacity,
    kind,
    mark_high,
    mark_low,
    number,
    form,
    NUMBER_BITS: tl.constexpr,  # of an entry: page, position, number
    POSITION_BITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Ids outside the pool, and the dummy page, are passed over."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = at < count
    step = at.to(tl.int64) * stride
    page = tl.load(slots_ptr + step, mask=live, other=0).to(tl.int64) // page_size
    previous = tl.load(slots_ptr + step - stride, mask=live & (at > 0), other=0)
    first = (at == 0) | (previous.to(tl.int64) // page_size != page)
    keep = live & first & (page > 0) & (page < num_pages)
    mark = (mark_high.to(tl.int64) << _MARK_BITS) | mark_low.to(tl.int64)
    newest = newest_ptr + kind.to(tl.int64) * num_pages + page
    tl.atomic_max(newest, mark + page * 0, mask=keep, sem="relaxed")
    if form & _COMPARED:
        before = tl.load(before_ptr + at, mask=live, other=0)
        keep = keep & (before != page)
    if form & _REMEMBERED:
        tl.store(before_ptr + at, page.to(tl.int32), mask=live)
    entry = (page << (NUMBER_BITS + POSITION_BITS)) | number
    if form & _SHARED:
        position = tl.minimum(at, (1 << POSITION_BITS) - 1).to(tl.int64)
        entry = entry | (position << NUMBER_BITS)
    rank = tl.cumsum(keep.to(tl.int32), axis=0)
    taken = tl.atomic_add(taken_ptr, tl.sum(keep.to(tl.int64), axis=0), sem="relaxed")
    tl.store(log_ptr + (taken + rank - 1) % capacity, entry, mask=keep)
