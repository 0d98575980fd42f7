"""Events of one or two pools, written into their marks and logs by one launch.

`triage/sglang/allocator/page_log.py` says what the marks and the log are; its `HostLog` is this
kernel's twin. How many pages the slots are of is known to the device alone, so each program
takes the places of its own entries from a counter that lies there too: nothing is allocated,
nothing waits. Events of one launch have no order among themselves, those of two have.

All that a pool has on the device is one tensor of int64, a head of `HEAD` words first. Tensors come
as addresses, so that one compiled form serves every type, alignment and pool.
"""

from __future__ import annotations

import triton
import triton.language as tl

SHARED, COMPARED, REMEMBERED, WIDE = 1, 2, 4, 8
"""What is to be done with an event, added up: a slot's position says whose it is; a row whose
page is that of `before` has no entry; the rows' pages become `before`; slots are int64."""

MARK_BITS = 31
"""Of a mark's lower part: each part is an int32, whatever the step."""

TAKEN, NUM_PAGES, PAGE_SIZE, CAPACITY, LOG, BEFORE = range(6)
HEAD = 16
"""Words of the head: entries ever taken, the pool's size, a page's, the log's, and in which word
the log (int64) and `before` (int32) begin. The marks, `[kinds, num_pages]`, follow the head."""

_SHARED, _COMPARED, _REMEMBERED, _WIDE = (
    tl.constexpr(n) for n in (SHARED, COMPARED, REMEMBERED, WIDE)
)
_MARK_BITS = tl.constexpr(MARK_BITS)
_NUM_PAGES, _PAGE_SIZE, _CAPACITY, _LOG, _BEFORE, _HEAD = (
    tl.constexpr(n) for n in (NUM_PAGES, PAGE_SIZE, CAPACITY, LOG, BEFORE, HEAD)
)

EVENT = ("pool", "slots", "count", "stride", "kind", "mark_high", "mark_low", "number", "form")
SCALARS = (*EVENT, *(f"second_{name}" for name in EVENT))


@triton.jit
def _note(
    pool,
    slots,
    count,
    stride,
    kind,
    mark_high,
    mark_low,
    number,
    form,
    NUMBER_BITS: tl.constexpr,
    POSITION_BITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    pool_ptr = pool.to(tl.pointer_type(tl.int64))
    num_pages = tl.load(pool_ptr + _NUM_PAGES)
    page_size = tl.load(pool_ptr + _PAGE_SIZE)
    capacity = tl.load(pool_ptr + _CAPACITY)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = at < count
    behind = live & (at > 0)
    step = at.to(tl.int64) * stride
    if form & _WIDE:
        wide_ptr = slots.to(tl.pointer_type(tl.int64)) + step
        slot = tl.load(wide_ptr, mask=live, other=0)
        previous = tl.load(wide_ptr - stride, mask=behind, other=0)
    else:
        ptr = slots.to(tl.pointer_type(tl.int32)) + step
        slot = tl.load(ptr, mask=live, other=0).to(tl.int64)
        previous = tl.load(ptr - stride, mask=behind, other=0).to(tl.int64)
    page = slot // page_size
    first = (at == 0) | (previous // page_size != page)
    keep = live & first & (page > 0) & (page < num_pages)
    mark = (mark_high.to(tl.int64) << _MARK_BITS) | mark_low.to(tl.int64)
    newest = pool_ptr + _HEAD + kind * num_pages + page
    tl.atomic_max(newest, mark + page * 0, mask=keep, sem="relaxed")
    before_ptr = (pool_ptr + tl.load(pool_ptr + _BEFORE)).to(tl.pointer_type(tl.int32))
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
    taken = tl.atomic_add(pool_ptr, tl.sum(keep.to(tl.int64), axis=0), sem="relaxed")
    log_ptr = pool_ptr + tl.load(pool_ptr + _LOG)
    tl.store(log_ptr + (taken + rank - 1) % capacity, entry, mask=keep)


@triton.jit(do_not_specialize=SCALARS)
def note_pages_kernel(
    pool,  # address of int64: see `HEAD`
    slots,  # address of [count], int32 or int64, `stride` apart: any view of the caller's
    count,
    stride,
    kind,
    mark_high,
    mark_low,
    number,
    form,
    second_pool,  # as the above; not looked at where the grid has one row of programs
    second_slots,
    second_count,
    second_stride,
    second_kind,
    second_mark_high,
    second_mark_low,
    second_number,
    second_form,
    NUMBER_BITS: tl.constexpr,  # of an entry: page, position, number
    POSITION_BITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Ids outside the pool, and the dummy page, are passed over."""
    if tl.program_id(1) == 0:
        _note(
            pool,
            slots,
            count,
            stride,
            kind,
            mark_high,
            mark_low,
            number,
            form,
            NUMBER_BITS,
            POSITION_BITS,
            BLOCK,
        )
    else:
        _note(
            second_pool,
            second_slots,
            second_count,
            second_stride,
            second_kind,
            second_mark_high,
            second_mark_low,
            second_number,
            second_form,
            NUMBER_BITS,
            POSITION_BITS,
            BLOCK,
        )
