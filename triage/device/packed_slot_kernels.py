"""`triage/invariants/packed_slots.py` as a Triton kernel: the packed slots of one launch.

Triton's and FlashInfer's own attention kernels (fa2) take no page table but a flat list of
slots and the offsets of its rows. As the kernels beside it this one may be recorded into
a CUDA graph: it allocates nothing, waits for nothing and survives any offsets and slots.

`PARTS` programs a row, each with every `PARTS`-th block of it: a row may be as long as the
context, and one program would take as long as the attention.
"""

from __future__ import annotations

import triton
import triton.language as tl

from triage.device.checker_kernels import INVARIANTS, TENSORS, UNKNOWN, _finish, _keep

_UNKNOWN = tl.constexpr(UNKNOWN)
_LAUNCH = tl.constexpr(0)
_I1, _I2, _I12, _I13 = (tl.constexpr(INVARIANTS.index(n)) for n in ("I1", "I2", "I12", "I13"))
_REQUEST = tl.constexpr(TENSORS.index("req_pool_indices"))

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
    ENDS: tl.constexpr,  # 0: a row begins at 0; 1: it ends at end_ptr + ahead; 2: so, of any
    # length; 3: as 1, and a row that the window cuts may have one slot fewer
    REQUEST: tl.constexpr,
    IDENTITY: tl.constexpr,
    MAPPED: tl.constexpr,
    SAFE: tl.constexpr,
    OFFSETS: tl.constexpr,  # which of TENSORS the two are
    INDICES: tl.constexpr,
    PARTS: tl.constexpr,
    CAPACITY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """I1, I2, I12, I13 of one row; see `check_packed_slots` for the rules.

    With SAFE a live slot outside the pool is overwritten by slot 0, in place.
    """
    launch = tl.load(state_ptr + _LAUNCH)
    row = (tl.program_id(0) // PARTS).to(tl.int64)
    part = tl.program_id(0) % PARTS
    first = tl.load(offset_ptr + row).to(tl.int64)
    stop = tl.load(offset_ptr + row + 1).to(tl.int64)
    count = stop - first
    request = row * 0 + _UNKNOWN
    real = row >= 0
    if REQUEST:
        request = tl.load(request_ptr + row).to(tl.int64)
        real = request != 0
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
                _UNKNOWN, _UNKNOWN, launch, tag, _I2, _REQUEST, CAPACITY,
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
    _finish(state_ptr, launch)
