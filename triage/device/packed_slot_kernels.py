"""`triage/invariants/packed_slots.py` as a Triton kernel: the packed slots of one launch.

Triton's and FlashInfer's own attention kernels (fa2) take no page table but a flat list of
slots and the offsets of its rows. As the kernels beside it this one may be recorded into
a CUDA graph: it allocates nothing, waits for nothing and survives any offsets and slots.

`PARTS` programs a row, each with every `PARTS`-th block of it: a row may be as long as the
context, and one program would take as long as the attention.

Long because what is judged and what is kept of a wrong launch are of one launch of one kernel.
"""

from __future__ import annotations

import triton
import triton.language as tl

from triage.device.checker_kernels import (
    DONE,
    FOUND,
    INVARIANTS,
    LAUNCHES,
    TENSORS,
    UNKNOWN,
    _keep,
)
from triage.device.kept_slots import (
    AT,
    BEGUN,
    CELLS,
    COMPLETE,
    COUNT,
    HEAD,
    LOST,
    OF_ROW,
    REQUEST,
    ROWS,
    START,
    TAG,
)

_UNKNOWN, _LOST = tl.constexpr(UNKNOWN), tl.constexpr(LOST)
_LAUNCHES, _DONE, _FOUND = tl.constexpr(LAUNCHES), tl.constexpr(DONE), tl.constexpr(FOUND)
_I1, _I2, _I12, _I13 = (tl.constexpr(INVARIANTS.index(n)) for n in ("I1", "I2", "I12", "I13"))
_OF_REQUESTS = tl.constexpr(TENSORS.index("req_pool_indices"))
_BEGUN, _COMPLETE, _TAG = tl.constexpr(BEGUN), tl.constexpr(COMPLETE), tl.constexpr(TAG)
_ROWS, _CELLS, _HEAD = tl.constexpr(ROWS), tl.constexpr(CELLS), tl.constexpr(HEAD)
_COUNT, _START, _REQUEST = tl.constexpr(COUNT), tl.constexpr(START), tl.constexpr(REQUEST)
_AT, _OF_ROW = tl.constexpr(AT), tl.constexpr(OF_ROW)
_INT32_MAX = tl.constexpr(2**31 - 1)

SCALARS = (
    "capacity",
    "low",
    "high",
    "ahead",
    "window",
    "requests",
    "context",
    "slots_stride",
    "mapping_len",
    "tag",
)


@triton.jit
def _row_of(
    row,
    offset_ptr,
    end_ptr,
    request_ptr,
    ahead,
    window,
    ENDS: tl.constexpr,
    BY_REQUEST: tl.constexpr,
):
    """(first offset, slots, slots it should have, position of the first, request) of a row."""
    first = tl.load(offset_ptr + row).to(tl.int64)
    count = tl.load(offset_ptr + row + 1).to(tl.int64) - first
    request = row * 0 + _UNKNOWN
    if BY_REQUEST:
        request = tl.load(request_ptr + row).to(tl.int64)
    wanted = count
    start = row * 0
    if ENDS > 0:
        end = tl.load(end_ptr + row).to(tl.int64) + ahead
        if ENDS != 2:
            wanted = end
            if window >= 0:
                wanted = tl.minimum(end, window)
                if ENDS == 3:
                    wanted = tl.where((end >= window) & (count == window - 1), count, wanted)
        start = end - wanted
    return first, count, wanted, start, request


@triton.jit
def _keep_slots(
    words_ptr,  # [KEPT, HEAD + MAX_ROWS * OF_ROW] int64, of the host
    cells_ptr,  # [KEPT, 3, MAX_CELLS] int32, of the host
    launch,
    tag,
    rows,
    offset_ptr,
    index_ptr,
    end_ptr,
    request_ptr,
    slots_ptr,
    mapping_ptr,
    capacity,
    ahead,
    window,
    requests,
    context,
    slots_stride,
    mapping_len,
    ENDS: tl.constexpr,
    BY_REQUEST: tl.constexpr,
    IDENTITY: tl.constexpr,
    MAPPED: tl.constexpr,
    KEPT: tl.constexpr,
    MAX_ROWS: tl.constexpr,
    MAX_CELLS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Copy the launch's rows to the host, where a place is free; see `kept_slots.py`."""
    size = _HEAD + MAX_ROWS * _OF_ROW
    place = launch * 0 - 1
    for candidate in tl.static_range(KEPT):
        taken = tl.load(words_ptr + candidate * size + _COMPLETE, volatile=True)
        place = tl.where((place < 0) & (taken == 0), candidate, place)
    if place >= 0:
        head = words_ptr + place * size
        cells = cells_ptr + place * 3 * MAX_CELLS
        tl.store(head + _BEGUN, launch + 1)
        used = launch * 0
        low, high = -_INT32_MAX, _INT32_MAX
        for number in range(0, tl.minimum(rows, MAX_ROWS)):
            row = launch * 0 + number
            first, count, _wanted, start, request = _row_of(
                row, offset_ptr, end_ptr, request_ptr, ahead, window, ENDS, BY_REQUEST
            )
            reach = tl.minimum(tl.maximum(count, 0), capacity)
            fits = used + reach <= MAX_CELLS
            about = head + _HEAD + row * _OF_ROW
            tl.store(about + _COUNT, count)
            tl.store(about + _START, start)
            tl.store(about + _REQUEST, request)
            tl.store(about + _AT, tl.where(fits, used, -1))
            reach = tl.where(fits, reach, 0)
            owner = tl.minimum(tl.maximum(request, 0), requests - 1).to(tl.int64)
            for begin in range(0, reach, BLOCK):
                column = begin + tl.arange(0, BLOCK).to(tl.int64)
                inside = column < reach
                at = first + column
                there = inside & (at >= 0) & (at < capacity)
                slot = tl.load(index_ptr + at, mask=there, other=_LOST).to(tl.int64)
                slot = tl.minimum(tl.maximum(slot, low), high)
                slot = tl.where(there, slot, _LOST)
                out = cells + used + column
                tl.store(out, slot.to(tl.int32), mask=inside)
                own = column * 0 - 1
                right = own
                if IDENTITY:
                    position = start + column
                    known = inside & (position >= 0) & (position < context)
                    known = known & (request >= 1) & (request < requests)
                    own = tl.load(slots_ptr + owner * slots_stride + position, mask=known, other=-1)
                    own = own.to(tl.int64)
                    right = own
                    if MAPPED:
                        known = known & (own >= 0) & (own < mapping_len)
                        right = tl.load(mapping_ptr + own, mask=known, other=-1).to(tl.int64)
                tl.store(out + MAX_CELLS, own.to(tl.int32), mask=inside)
                tl.store(out + 2 * MAX_CELLS, right.to(tl.int32), mask=inside)
            used += reach
        tl.store(head + _TAG, launch * 0 + tag)
        tl.store(head + _ROWS, launch * 0 + rows)
        tl.store(head + _CELLS, used)
        tl.debug_barrier()
        tl.store(head + _COMPLETE, launch + 1)


@triton.jit(do_not_specialize=SCALARS)
def check_packed_slots_kernel(
    state_ptr,  # [HEADER + capacity * RECORD] int64
    offset_ptr,  # [rows + 1]: kv_indptr
    index_ptr,  # [capacity]: kv_indices
    end_ptr,  # [rows], by ENDS
    request_ptr,  # [rows]
    slots_ptr,  # [requests, context], row stride slots_stride: req_to_token
    mapping_ptr,  # [mapping_len]: full slot -> SWA slot
    capacity,
    low,
    high,
    ahead,
    window,
    requests,
    context,
    slots_stride,
    mapping_len,
    tag,
    words_ptr,
    cells_ptr,
    ENDS: tl.constexpr,  # 0: a row begins at 0; 1: it ends at end_ptr + ahead; 2: so, of any
    # length; 3: as 1, and a row that the window cuts may have one slot fewer
    BY_REQUEST: tl.constexpr,
    IDENTITY: tl.constexpr,
    MAPPED: tl.constexpr,
    SAFE: tl.constexpr,
    OFFSETS: tl.constexpr,  # which of TENSORS the two are
    INDICES: tl.constexpr,
    PARTS: tl.constexpr,
    CAPACITY: tl.constexpr,
    KEPT: tl.constexpr,  # places for a launch that found something; 0 for none
    MAX_ROWS: tl.constexpr,
    MAX_CELLS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """I1, I2, I12, I13 of one row; see `check_packed_slots` for the rules.

    With SAFE a live slot outside the pool is overwritten by slot 0, in place. With KEPT the last
    program of a launch that found something copies its rows to the host.
    """
    launch = tl.load(state_ptr + _LAUNCHES)
    row = (tl.program_id(0) // PARTS).to(tl.int64)
    part = tl.program_id(0) % PARTS
    first, count, wanted, start, request = _row_of(
        row, offset_ptr, end_ptr, request_ptr, ahead, window, ENDS, BY_REQUEST
    )
    stop = first + count
    real = row >= 0
    if BY_REQUEST:
        real = request != 0
    stranger = row < 0
    known_request = real
    if IDENTITY:
        known_request = real & (request >= 1) & (request < requests)
        stranger = real & (known_request == 0)
    capacity = capacity.to(tl.int64)
    last = row == tl.num_programs(0) // PARTS - 1
    odd = (real & (count != wanted)) | ((row == 0) & (first != 0))
    over = last & (stop > capacity)
    if (part == 0) & (odd | over | stranger):
        lane = tl.arange(0, 1) == 0
        _keep(
                state_ptr, lane & odd, row, 0, count, _UNKNOWN, wanted, wanted + 1,
                _UNKNOWN, _UNKNOWN, launch, tag, _I12, OFFSETS, CAPACITY,
            )  # fmt: skip
        _keep(
                state_ptr, lane & over, row, 0, stop, _UNKNOWN, 0, capacity + 1,
                _UNKNOWN, _UNKNOWN, launch, tag, _I13, OFFSETS, CAPACITY,
            )  # fmt: skip
        _keep(
                state_ptr, lane & stranger, row, 0, request, _UNKNOWN, 1, requests,
                _UNKNOWN, _UNKNOWN, launch, tag, _I2, _OF_REQUESTS, CAPACITY,
            )  # fmt: skip
    reach = tl.minimum(tl.maximum(count, 0), capacity)
    for begin in range(part * BLOCK, reach, PARTS * BLOCK):
        column = begin + tl.arange(0, BLOCK).to(tl.int64)
        at = first + column
        live = (column < reach) & (at >= 0) & (at < capacity) & real
        slot = tl.load(index_ptr + at, mask=live, other=0).to(tl.int64)
        in_range = (slot >= low) & (slot < high)
        outside = live & (in_range == 0)
        wrong = live & (column < 0)
        expected = column * 0 + _UNKNOWN
        if IDENTITY:
            position = start + column
            owner = tl.minimum(tl.maximum(request, 0), requests - 1).to(tl.int64)
            known = live & known_request & (position >= 0) & (position < context)
            right = tl.load(slots_ptr + owner * slots_stride + position, mask=known, other=-1)
            right = right.to(tl.int64)
            known = known & (right >= 0)
            if MAPPED:
                known = known & (right < mapping_len)
                right = tl.load(mapping_ptr + right, mask=known, other=-1).to(tl.int64)
                known = known & (right >= 0)
            wrong = known & in_range & (slot != right)
            expected = tl.where(known, right, _UNKNOWN)
        if tl.max((outside | wrong).to(tl.int32), axis=0) > 0:
            _keep(
                state_ptr, wrong, row, start + column, slot, expected, low, high,
                request, _UNKNOWN, launch, tag, _I2, INDICES, CAPACITY,
            )  # fmt: skip
            _keep(
                state_ptr, outside, row, start + column, slot, expected, low, high,
                request, _UNKNOWN, launch, tag, _I1, INDICES, CAPACITY,
            )  # fmt: skip
            if SAFE:
                nothing = slot * 0
                tl.store(index_ptr + at, nothing.to(index_ptr.dtype.element_ty), mask=outside)
    tl.debug_barrier()
    before = tl.atomic_add(state_ptr + _DONE, 1)
    if before == tl.num_programs(0) - 1:
        if KEPT > 0:  # noqa: SIM102, a branch that is not compiled where nothing is kept
            if tl.atomic_max(state_ptr + _FOUND, launch * 0) == launch + 1:
                _keep_slots(
                    words_ptr, cells_ptr, launch, tag, tl.num_programs(0) // PARTS,
                    offset_ptr, index_ptr, end_ptr, request_ptr, slots_ptr, mapping_ptr,
                    capacity, ahead, window, requests, context, slots_stride, mapping_len,
                    ENDS, BY_REQUEST, IDENTITY, MAPPED, KEPT, MAX_ROWS, MAX_CELLS, BLOCK,
                )  # fmt: skip
        tl.store(state_ptr + _DONE, 0)
        tl.store(state_ptr + _LAUNCHES, launch + 1)
