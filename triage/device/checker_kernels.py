"""The checks of `triage/invariants/` reads, writes and graph as Triton kernels.

A kernel here may be recorded into a CUDA graph between the table's refill and
the attention that reads it, so it allocates nothing, waits for nothing, and
survives any table: every load is masked or its index clamped, and every offset
is 64 bits wide before it is multiplied.

One program per row (reads) or per block of tokens (writes). Faults are rare, so
the path that records them is behind a branch and may be slow.

The state buffer, int64, is `HEADER` numbers and then `capacity` records:

    [LAUNCHES]  launches completed; the last program to finish raises it
    [DONE]      programs of the running launch that have finished
    [CURSOR]    offenders ever seen; a record is kept if CURSOR - FLOOR < capacity
    [FLOOR]     CURSOR when the host last emptied the records
    [COUNTS..]  offenders ever seen per invariant, in the order of INVARIANTS
    [FOUND]     1 + the newest launch that found an offender, 0 before the first
    [LOCATIONS] the fingerprints of all locations checked so far, summed up (`fingerprints.py`)

64-bit sums do not wrap in the life of a server, which is all that is asked of
saturation here. Launches of one buffer must follow each other on one stream.

Long because three kernels share the records that they write.
"""

from __future__ import annotations

import triton
import triton.language as tl

from triage.device.fingerprints import fingerprint
from triage.invariants.catalogue import CHECKED_ON_DEVICE

INVARIANTS = CHECKED_ON_DEVICE
TENSORS = (
    "block_tables",
    "cache_seqlens",
    "q_len",
    "req_pool_indices",
    "out_cache_loc",
    "swa_loc",
    "kv_indptr",  # these four of `packed_slot_kernels.py`
    "kv_indices",
    "window_kv_indptr",
    "window_kv_indices",
)

LAUNCHES, DONE, CURSOR, FLOOR, COUNTS = 0, 1, 2, 3, 4
HEADER = 16
FOUND, LOCATIONS = HEADER - 2, HEADER - 1
RECORD = 12  # invariant tensor row column value expected low high request in_window launch tag

UNKNOWN = -(2**62)
"""In a record: no expected id, no request, or window not judged. No int32 or page id is that."""

_LAUNCHES = tl.constexpr(LAUNCHES)
_DONE = tl.constexpr(DONE)
_CURSOR = tl.constexpr(CURSOR)
_FLOOR = tl.constexpr(FLOOR)
_COUNTS = tl.constexpr(COUNTS)
_FOUND = tl.constexpr(FOUND)
_LOCATIONS = tl.constexpr(LOCATIONS)
_HEADER = tl.constexpr(HEADER)
_RECORD = tl.constexpr(RECORD)
_UNKNOWN = tl.constexpr(UNKNOWN)

_I1, _I2, _I3, _I10, _I12, _I13, _I26 = (tl.constexpr(code) for code in range(len(INVARIANTS)))
_TABLE, _LENGTH, _QUERIES, _REQUEST, _LOC, _SWA_LOC = (tl.constexpr(code) for code in range(6))


@triton.jit
def _keep(
    state_ptr,
    bad,
    rows,
    columns,
    values,
    expected,
    low,
    high,
    request,
    in_window,
    launch,
    tag,
    INVARIANT: tl.constexpr,
    TENSOR: tl.constexpr,
    CAPACITY: tl.constexpr,
):
    """Count the lanes where `bad` holds and keep as many as there is room for."""
    flags = bad.to(tl.int64)
    total = tl.sum(flags, axis=0)
    if total > 0:
        tl.atomic_add(state_ptr + _COUNTS + INVARIANT, total)
        tl.atomic_max(state_ptr + _FOUND, launch + 1)
        first = tl.atomic_add(state_ptr + _CURSOR, total)
        place = first - tl.load(state_ptr + _FLOOR) + tl.cumsum(flags, axis=0) - 1
        room = bad & (place >= 0) & (place < CAPACITY)
        out = state_ptr + _HEADER + place * _RECORD
        zero = flags * 0
        tl.store(out + 0, zero + INVARIANT, mask=room)
        tl.store(out + 1, zero + TENSOR, mask=room)
        tl.store(out + 2, zero + rows, mask=room)
        tl.store(out + 3, zero + columns, mask=room)
        tl.store(out + 4, zero + values, mask=room)
        tl.store(out + 5, zero + expected, mask=room)
        tl.store(out + 6, zero + low, mask=room)
        tl.store(out + 7, zero + high, mask=room)
        tl.store(out + 8, zero + request, mask=room)
        tl.store(out + 9, zero + in_window, mask=room)
        tl.store(out + 10, zero + launch, mask=room)
        tl.store(out + 11, zero + tag, mask=room)


@triton.jit
def _finish(state_ptr, launch):
    """Close the program; the last of the launch raises LAUNCHES for the next one.

    The barrier keeps a slow warp from reading LAUNCHES after that.
    """
    tl.debug_barrier()
    before = tl.atomic_add(state_ptr + _DONE, 1)
    if before == tl.num_programs(0) - 1:
        tl.store(state_ptr + _DONE, 0)
        tl.store(state_ptr + _LAUNCHES, launch + 1)


SCALARS = (
    "table_stride",
    "width",
    "num_pages",
    "window_left",
    "q_len",
    "real_rows",
    "requests",
    "context",
    "slots_stride",
    "mapping_len",
    "padded_length",
    "tag",
)


@triton.jit(do_not_specialize=SCALARS)
def check_table_kernel(
    state_ptr,  # [HEADER + capacity * RECORD] int64
    table_ptr,  # [rows, width], row stride table_stride, column stride 1
    length_ptr,  # [rows]
    query_ptr,  # [rows] or [rows + 1], by QUERIES
    request_ptr,  # [rows]
    slots_ptr,  # [requests, context], row stride slots_stride: req_to_token
    mapping_ptr,  # [mapping_len]: full slot -> SWA slot
    real_ptr,  # [1]
    safe_table_ptr,  # [rows, width] int32, dense, output
    safe_length_ptr,  # [rows] int32, output
    table_stride,
    width,
    num_pages,
    window_left,
    q_len,
    real_rows,
    requests,
    context,
    slots_stride,
    mapping_len,
    padded_length,
    tag,
    PAGE: tl.constexpr,
    QUERIES: tl.constexpr,  # 0: q_len; 1: query_ptr per row; 2: query_ptr is a prefix sum
    REAL: tl.constexpr,  # 0: by request or length; 1: real_rows; 2: real_ptr
    REQUEST: tl.constexpr,
    IDENTITY: tl.constexpr,
    MAPPED: tl.constexpr,
    PADDING: tl.constexpr,  # 0: off; 1: request and table; 2: length too
    SAFE: tl.constexpr,
    CAPACITY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """I1, I2, I10, I12, I26 of one row; see `check_table` and `check_padding` for the rules.

    With SAFE it also writes the row's copy for containment: live ids outside the pool
    and columns past the length become page 0, the length is brought into
    [0, width * PAGE].
    """
    launch = tl.load(state_ptr + _LAUNCHES)
    row = tl.program_id(0).to(tl.int64)
    width = width.to(tl.int64)
    longest = width * PAGE
    length = tl.load(length_ptr + row).to(tl.int64)
    request = row * 0 + _UNKNOWN
    if REQUEST:
        request = tl.load(request_ptr + row).to(tl.int64)
    if REAL == 2:
        real = row < tl.load(real_ptr).to(tl.int64)
    elif REAL == 1:
        real = row < real_rows
    elif REQUEST:
        real = request != 0
    else:
        real = length > 0
    if QUERIES == 2:
        queries = tl.load(query_ptr + row + 1).to(tl.int64) - tl.load(query_ptr + row).to(tl.int64)
    elif QUERIES == 1:
        queries = tl.load(query_ptr + row).to(tl.int64)
    else:
        queries = row * 0 + q_len
    shortest = real.to(tl.int64)

    short = length < shortest
    odd = real & (length >= 1) & ((queries < 0) | (queries > length))
    long = length > longest
    known_request = real
    stranger = row < 0
    if IDENTITY:
        known_request = real & (request >= 1) & (request < requests)
        stranger = real & (known_request == 0)
    stale = row < 0
    if PADDING > 0 and REQUEST:
        stale = (real == 0) & (request != 0)
    unlike = row < 0
    if PADDING == 2:
        unlike = (real == 0) & (length != padded_length)
    if short | odd | long | stranger | stale | unlike:
        lane = tl.arange(0, 1) == 0  # a row's fault is a block of one lane
        _keep(
            state_ptr, lane & short, row, 0, length, _UNKNOWN, shortest, longest + 1,
            _UNKNOWN, _UNKNOWN, launch, tag, _I12, _LENGTH, CAPACITY,
        )  # fmt: skip
        _keep(
            state_ptr, lane & odd, row, 0, queries, _UNKNOWN, 0, length + 1,
            _UNKNOWN, _UNKNOWN, launch, tag, _I12, _QUERIES, CAPACITY,
        )  # fmt: skip
        _keep(
            state_ptr, lane & long, row, 0, length, _UNKNOWN, shortest, longest + 1,
            _UNKNOWN, _UNKNOWN, launch, tag, _I26, _LENGTH, CAPACITY,
        )  # fmt: skip
        _keep(
            state_ptr, lane & stranger, row, 0, request, _UNKNOWN, 1, requests,
            _UNKNOWN, _UNKNOWN, launch, tag, _I2, _REQUEST, CAPACITY,
        )  # fmt: skip
        _keep(
            state_ptr, lane & stale, row, 0, request, _UNKNOWN, 0, 1,
            _UNKNOWN, _UNKNOWN, launch, tag, _I10, _REQUEST, CAPACITY,
        )  # fmt: skip
        _keep(
            state_ptr, lane & unlike, row, 0, length, _UNKNOWN, padded_length, padded_length + 1,
            _UNKNOWN, _UNKNOWN, launch, tag, _I10, _LENGTH, CAPACITY,
        )  # fmt: skip

    reach = tl.minimum(tl.maximum(length, 0), longest)
    live_columns = (reach + PAGE - 1) // PAGE
    oldest = tl.maximum(length - tl.maximum(queries, 1) - window_left, 0)
    first_visible = tl.where(window_left >= 0, oldest // PAGE, 0)
    end = live_columns
    if SAFE:
        end = width
        tl.store(safe_length_ptr + row, reach.to(tl.int32))
    for start in range(0, end, BLOCK):
        column = start + tl.arange(0, BLOCK).to(tl.int64)
        live = column < live_columns
        page = tl.load(table_ptr + row * table_stride + column, mask=live, other=0).to(tl.int64)
        in_window = column >= first_visible
        low = (in_window & real).to(tl.int64)
        in_range = (page >= low) & (page < num_pages)
        outside = live & (in_range == 0)
        wrong = live & (column < 0)
        expected = column * 0 + _UNKNOWN
        if IDENTITY:
            position = column * PAGE
            owner = tl.minimum(tl.maximum(request, 0), requests - 1).to(tl.int64)
            slot = tl.load(
                slots_ptr + owner * slots_stride + tl.minimum(position, context - 1),
                mask=live,
                other=0,
            ).to(tl.int64)
            known = (position < context) & (slot >= 0)
            forgiven = live & (column < 0)
            if MAPPED:
                known = known & (slot < mapping_len)
                slot = tl.load(mapping_ptr + slot, mask=live & known, other=-1).to(tl.int64)
                known = known & (slot >= 0)
                dropped = (page == 0) | (slot // PAGE == 0) | (known == 0)
                forgiven = (in_window == 0) & dropped
            agrees = known & (page == slot // PAGE)
            wrong = live & in_range & known_request & (agrees == 0) & (forgiven == 0)
            expected = tl.where(known & known_request, slot // PAGE, _UNKNOWN)
        if SAFE:
            kept = tl.where(live & (outside == 0), page, 0)
            tl.store(safe_table_ptr + row * width + column, kept.to(tl.int32), mask=column < width)
        used = live & (column < 0)
        if PADDING > 0:
            used = live & in_range & (real == 0) & (page != 0)
        if tl.max((outside | wrong | used).to(tl.int32), axis=0) > 0:
            seen = in_window.to(tl.int64)
            _keep(
                state_ptr, outside, row, column, page, expected, low, num_pages,
                request, seen, launch, tag, _I1, _TABLE, CAPACITY,
            )  # fmt: skip
            _keep(
                state_ptr, wrong, row, column, page, expected, low, num_pages,
                request, seen, launch, tag, _I2, _TABLE, CAPACITY,
            )  # fmt: skip
            _keep(
                state_ptr, used, row, column, page, _UNKNOWN, 0, 1,
                request, _UNKNOWN, launch, tag, _I10, _TABLE, CAPACITY,
            )  # fmt: skip
    _finish(state_ptr, launch)


@triton.jit(
    do_not_specialize=(
        "tokens",
        "num_pages",
        "swa_pages",
        "mapping_len",
        "real_tokens",
        "tokens_per_row",
        "tag",
    )
)
def check_writes_kernel(
    state_ptr,
    loc_ptr,  # [tokens]
    swa_loc_ptr,  # [tokens]
    mapping_ptr,  # [mapping_len]
    request_ptr,  # [rows]
    real_ptr,  # [1]
    tokens,
    num_pages,
    swa_pages,
    mapping_len,
    real_tokens,
    tokens_per_row,
    tag,
    PAGE: tl.constexpr,
    REAL: tl.constexpr,  # 0: by request or slot; 1: real_tokens; 2: real_ptr
    REQUEST: tl.constexpr,
    SWA: tl.constexpr,
    MAPPED: tl.constexpr,
    CAPACITY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """I3 of a block of tokens; see `check_writes` for the rules."""
    launch = tl.load(state_ptr + _LAUNCHES)
    token = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK).to(tl.int64)
    live = token < tokens
    loc = tl.load(loc_ptr + token, mask=live, other=0).to(tl.int64)
    if REAL == 2:
        real = token < tl.load(real_ptr).to(tl.int64)
    elif REAL == 1:
        real = token < real_tokens
    elif REQUEST:
        real = tl.load(request_ptr + token // tokens_per_row, mask=live, other=0) != 0
    else:
        real = (loc < 0) | (loc >= PAGE)
    low = tl.where(real, PAGE, 0).to(tl.int64)
    high = tl.where(real, num_pages.to(tl.int64) * PAGE, PAGE)
    outside = live & ((loc < low) | (loc >= high))
    # The dummy page takes what padding writes, and the checks say who may write there.
    owned = live & ((loc < 0) | (loc >= PAGE))
    prints = tl.where(owned, fingerprint(token + 1, loc), 0)
    tl.atomic_add(state_ptr + _LOCATIONS, tl.sum(prints, axis=0), sem="relaxed")
    request = token * 0 + _UNKNOWN
    if REQUEST:
        owner = tl.load(request_ptr + token // tokens_per_row, mask=live, other=0)
        request = owner.to(tl.int64)
    _keep(
        state_ptr, outside, token, 0, loc, _UNKNOWN, low, high, request, _UNKNOWN,
        launch, tag, _I3, _LOC, CAPACITY,
    )  # fmt: skip
    if SWA:
        slot = tl.load(swa_loc_ptr + token, mask=live, other=0).to(tl.int64)
        high = tl.where(real, swa_pages.to(tl.int64) * PAGE, PAGE)
        outside = live & ((slot < low) | (slot >= high))
        expected = token * 0 + _UNKNOWN
        if MAPPED:
            known = live & real & (loc >= 0) & (loc < mapping_len)
            expected = tl.load(mapping_ptr + loc, mask=known, other=-1).to(tl.int64)
            known = known & (expected >= 0)
            outside = outside | (known & (slot != expected))
            expected = tl.where(known, expected, _UNKNOWN)
        _keep(
            state_ptr, outside, token, 0, slot, expected, low, high, request, _UNKNOWN,
            launch, tag, _I3, _SWA_LOC, CAPACITY,
        )  # fmt: skip
    _finish(state_ptr, launch)
