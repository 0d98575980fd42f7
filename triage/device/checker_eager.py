"""The eager twins of `triage/device/checker_kernels.py`: the host checks, writing the same state.

On a CPU they are the production path (the Triton interpreter takes
milliseconds per row); the kernels are tested against them. They read results
back, which on a CPU costs nothing and on a GPU would be a sync.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.device.checker_kernels import (
    COUNTS,
    CURSOR,
    FLOOR,
    FOUND,
    HEADER,
    INVARIANTS,
    LAUNCHES,
    LOCATIONS,
    RECORD,
    TENSORS,
    UNKNOWN,
)
from triage.device.fingerprints import fingerprint_eager
from triage.device.kept_slots import KeptSlots, keep_eager
from triage.evidence import Violation
from triage.invariants import graph, packed_slots, reads, writes
from triage.invariants.findings import Findings
from triage.invariants.reads import IndexSpace


def check_table(
    state: Tensor,
    capacity: int,
    block_tables: Tensor,
    cache_seqlens: Tensor,
    space: IndexSpace,
    *,
    window_left: int,
    q_len: int | Tensor,
    cum_seq_lens_q: Tensor | None,
    req_pool_indices: Tensor | None,
    req_to_token: Tensor | None,
    full_to_swa: Tensor | None,
    num_real_rows: int | Tensor | None,
    check_padding: bool,
    padded_length: int | None,
    safe_table: Tensor | None,
    safe_lengths: Tensor | None,
    tag: int,
) -> None:
    """Twin of `check_table_kernel`: `reads.check_table`, kept in `state` as the kernel keeps it.

    Args: as `DeviceChecker.check_table` hands them on, its forms already judged; besides,
        state: `(HEADER + capacity * RECORD,)`, int64. Mutated: counts, and the first
            offenders while there is room.
        capacity: offenders that `state` has room for.
        block_tables: `(rows, width)`; cache_seqlens: `(rows,)`, tokens.
        safe_table, safe_lengths: `(rows, width)` and `(rows,)`, int32, both or none.
            Mutated: live ids outside the pool and dead columns are page 0, lengths lie in
            [0, width * page_size].
        tag: any number; stands with each offender.
    Cost: that of the host checks, and a read of `state` and of every count: a sync on a GPU.
    """
    found = reads.check_table(
        block_tables,
        cache_seqlens,
        space,
        window_left=window_left,
        q_len=q_len,
        cum_seq_lens_q=cum_seq_lens_q,
        req_pool_indices=req_pool_indices,
        req_to_token=req_to_token,
        full_to_swa=full_to_swa,
        num_real_rows=num_real_rows,
    )
    both = [found]
    if check_padding and num_real_rows is not None:
        padding = graph.check_padding(
            block_tables,
            cache_seqlens,
            space,
            num_real_rows=num_real_rows,
            req_pool_indices=req_pool_indices,
            padded_length=padded_length,
        )
        both.append(padding)
    if safe_table is not None and safe_lengths is not None:
        _write_safe_copy(block_tables, cache_seqlens, space, found, safe_table, safe_lengths)
    _keep(state, capacity, both, tag)


def check_writes(
    state: Tensor,
    capacity: int,
    out_cache_loc: Tensor,
    space: IndexSpace,
    *,
    swa_loc: Tensor | None,
    swa_space: IndexSpace | None,
    full_to_swa: Tensor | None,
    req_pool_indices: Tensor | None,
    tokens_per_row: int,
    num_real_tokens: int | Tensor | None,
    tag: int,
) -> None:
    """Twin of `check_writes_kernel`: `writes.check_writes`, kept in `state` likewise.

    Args: as `DeviceChecker.check_writes` hands them on; `state`, `capacity` and `tag` as in
        `check_table`. `out_cache_loc` and `swa_loc` are `(tokens,)`, in slots.
    Cost: as `check_table`.
    """
    found = writes.check_writes(
        out_cache_loc,
        space,
        swa_loc=swa_loc,
        swa_space=swa_space,
        full_to_swa=full_to_swa,
        req_pool_indices=req_pool_indices,
        tokens_per_row=tokens_per_row,
        num_real_tokens=num_real_tokens,
    )
    loc = out_cache_loc.to(torch.int64)
    prints = fingerprint_eager(torch.arange(1, len(loc) + 1), loc)
    owned = (loc < 0) | (loc >= space.page_size)
    state[LOCATIONS] += torch.where(owned, prints, 0).sum()
    _keep(state, capacity, [found], tag)


def check_packed_slots(
    state: Tensor,
    capacity: int,
    kv_indptr: Tensor,
    kv_indices: Tensor,
    space: IndexSpace,
    *,
    ends: Tensor | None,
    ahead: int,
    window: int,
    counted: bool,
    one_fewer: bool,
    req_pool_indices: Tensor | None,
    req_to_token: Tensor | None,
    full_to_swa: Tensor | None,
    name: str,
    safe: bool,
    tag: int,
    kept: KeptSlots | None,
) -> None:
    """Twin of `check_packed_slots_kernel`: the check of `packed_slots`, kept in `state` likewise.

    Args: as `DeviceChecker.check_packed_slots` hands them on; `state`, `capacity` and `tag` as in
        `check_table`. `kv_indices` is mutated where `safe` is set.
    Cost: as `check_table`.
    """
    count = kv_indptr.to(torch.int64).diff()
    end = count if ends is None else ends.to(torch.int64) + ahead
    tokens = count
    if ends is not None and counted:
        tokens = end if window < 0 else end.clamp(max=window)
        if one_fewer and window >= 0:
            tokens = torch.where((end >= window) & (count == window - 1), count, tokens)
    found = packed_slots.check_packed_slots(
        kv_indptr,
        kv_indices,
        space,
        ends=end,
        tokens=tokens,
        width=min(int(count.max()), len(kv_indices)),
        req_pool_indices=req_pool_indices,
        req_to_token=req_to_token,
        full_to_swa=full_to_swa,
        name=name,
    )
    launch = int(state[LAUNCHES])
    if safe:
        _make_safe(kv_indptr, kv_indices, found)
    _keep(state, capacity, [found], tag)
    if kept is not None and int(state[FOUND]) == launch + 1:
        keep_eager(
            kept,
            launch,
            tag,
            kv_indptr,
            kv_indices,
            starts=end - tokens,
            requests=req_pool_indices,
            req_to_token=req_to_token,
            full_to_swa=full_to_swa,
            unknown=UNKNOWN,
        )


def _make_safe(kv_indptr: Tensor, kv_indices: Tensor, found: Findings) -> None:
    """Live slots outside the pool become slot 0, in place."""
    for fault in found.faults:
        if fault.invariant == "I1" and bool(fault.mask.any()):
            rows, columns = fault.mask.nonzero(as_tuple=True)
            kv_indices[kv_indptr.to(torch.int64)[rows] + columns] = 0


def _write_safe_copy(
    table: Tensor,
    length: Tensor,
    space: IndexSpace,
    found: Findings,
    safe_table: Tensor,
    safe_lengths: Tensor,
) -> None:
    width, page = table.shape[1], space.page_size
    reach = length.to(torch.int64).clamp(0, width * page)
    keep = torch.arange(width, device=table.device) < ((reach + page - 1) // page)[:, None]
    for fault in found.faults:
        if fault.invariant == "I1":
            keep = keep & ~fault.mask
    safe_table.copy_(torch.where(keep, table, 0))
    safe_lengths.copy_(reach)


def _keep(state: Tensor, capacity: int, found: list[Findings], tag: int) -> None:
    launch = int(state[LAUNCHES])
    state[LAUNCHES] += 1
    for findings in found:
        for fault, total in zip(findings.faults, findings.summary.tolist(), strict=False):
            if total == 0:
                continue
            place = int(state[CURSOR] - state[FLOOR])
            state[FOUND] = launch + 1
            state[CURSOR] += total
            state[COUNTS + INVARIANTS.index(fault.invariant)] += total
            for violation in fault.first(max(0, capacity - place)):
                start = HEADER + place * RECORD
                state[start : start + RECORD] = torch.tensor(_record(violation, launch, tag))
                place += 1


def _record(violation: Violation, launch: int, tag: int) -> list[int]:
    def known(number: int | None) -> int:
        return UNKNOWN if number is None else number

    return [
        INVARIANTS.index(violation.invariant),
        TENSORS.index(violation.tensor),
        violation.row,
        violation.column,
        violation.value,
        known(violation.expected),
        violation.low,
        violation.high,
        known(violation.req_pool_index),
        known(violation.in_window),
        launch,
        tag,
    ]
