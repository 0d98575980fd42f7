"""I1, I2, I12, I13: the packed slots that a launch of Triton or FlashInfer's fa2 reads.

These kernels take no page table: `kv_indices` is one flat list of slots, row
after row, and `kv_indptr` says where a row begins. The failure is the same as in
a table: a slot of another pool, request or position, which the kernel loads
through a plain pointer. The rule: every slot between two offsets is the one that
`req_to_token` (and the pool's mapping) names for its position.

Slots, not pages: a slot is `page * page_size + offset`, and nothing is divided.
A window stream holds the positions just before the row's end, a full one all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found
from triage.invariants.reads import IndexSpace

SLOT_SENTENCES = {
    "I1": "a slot that the launch reads is outside the pool",
    "I2": "a slot that the launch reads is not the one that req_to_token names",
    "I12": "a row has another number of slots than tokens",
}
"""What is wrong, said of slots; of the other invariants the catalogue says it."""


def check_packed_slots(
    kv_indptr: Tensor,
    kv_indices: Tensor,
    space: IndexSpace,
    *,
    ends: Tensor,
    tokens: Tensor,
    width: int,
    req_pool_indices: Tensor | None = None,
    req_to_token: Tensor | None = None,
    full_to_swa: Tensor | None = None,
    name: str = "kv",
) -> Findings:
    """I1, I2, I12 and I13 for every row of one launch.

    A row is real if its request index is not the reserved 0, or none is given.

    I12  real row r holds `tokens[r]` slots: kv_indptr[r + 1] - kv_indptr[r], and kv_indptr[0] == 0.
    I13  kv_indptr's last entry <= len(kv_indices).
    I1   real row: page_size <= slot < num_pages * page_size (1 <= slot where page_size is 1):
         page 0 is the dummy page, and what eviction left behind.
    I2   real row, slot in range but not R[req, p], or m[R[req, p]] with `full_to_swa`, for
         the p-th position of the row, p counted from `ends[r] - tokens[r]`. A request index
         outside [1, len(R)) is an I2 fault of its own, reported on `req_pool_indices`.

    Args:
        kv_indptr: `(rows + 1,)`, integer, offsets into `kv_indices`. Values may be anything.
        kv_indices: `(capacity,)`, integer, slots. Entries past the last offset are not read.
        ends: `(rows,)`, position after the last one that the row reads.
        tokens: `(rows,)`, positions the row reads, the newest ones.
        width: the longest of `tokens`, known to the host.
        req_to_token: `(requests, context)`, full-pool slots. I2 needs it and the requests.
        full_to_swa: `(slots,)`, pass it only for a stream of SWA slots.
        name: "kv" or "window_kv", SGLang's prefix of the two tensors.
    Returns: faults over `<name>_indptr` (row) and `<name>_indices` (row, position in the request).
    Cost: about 60 small launches over `(rows, width)` int64 temporaries, no sync until `read()`.
    Source: SGLang layers/attention/triton_backend.py, init_forward_metadata and
        update_sliding_window_buffer, 0.5.12.post1 to 0.5.23.
    """
    offset, stream = kv_indptr.to(torch.int64), kv_indices.to(torch.int64)
    request = None if req_pool_indices is None else req_pool_indices.to(torch.int64)
    count, wanted = offset.diff(), tokens.to(torch.int64)
    real = torch.ones_like(wanted, dtype=torch.bool) if request is None else request != 0
    rows = torch.arange(len(count), device=offset.device)
    wrong_count = (real & (count != wanted)) | ((offset[:-1] != 0) & (rows == 0))
    last = offset[1:]
    over = (last > len(stream)) & (rows == len(count) - 1)
    first = ends.to(torch.int64) - wanted
    faults = [
        Fault(
            "I12",
            f"{name}_indptr",
            wrong_count,
            count,
            wanted,
            wanted + 1,
            kind=Found.SLOTS_OF_ANOTHER_LENGTH,
        ),
        Fault(
            "I13",
            f"{name}_indptr",
            over,
            last,
            0,
            len(stream) + 1,
            kind=Found.BUFFER_TOO_SMALL,
        ),
    ]
    if request is not None and req_to_token is not None:
        stranger = real & ((request < 1) | (request >= len(req_to_token)))
        faults.append(
            Fault(
                "I2",
                "req_pool_indices",
                stranger,
                request,
                1,
                len(req_to_token),
                kind=Found.NO_SUCH_REQUEST,
            )
        )
    if not len(stream) or width < 1:
        return Findings(faults)
    column = torch.arange(width, device=stream.device)
    at = offset[:-1, None] + column
    live = (column < count[:, None]) & (at >= 0) & (at < len(stream)) & real[:, None]
    slot = stream[at.clamp(0, len(stream) - 1)]
    low, high = max(space.page_size, 1), space.num_pages * space.page_size
    in_range = (slot >= low) & (slot < high)
    expected = known = None
    if request is not None and req_to_token is not None:
        position = first[:, None] + column
        expected, known = _expected(position, request, req_to_token, full_to_swa)
        faults.append(
            Fault(
                "I2",
                f"{name}_indices",
                live & in_range & known & (slot != expected),
                slot,
                low,
                high,
                expected=expected,
                known=known,
                request=request,
                kind=Found.WRONG_SLOT,
                first_column=first,
            )
        )
    outside = live & ~in_range
    faults.append(
        Fault(
            "I1",
            f"{name}_indices",
            outside,
            slot,
            low,
            high,
            expected=expected,
            known=known,
            request=request,
            kind=Found.PAGE_OUTSIDE_POOL,
            first_column=first,
        )
    )
    return Findings(faults)


def _expected(
    position: Tensor, request: Tensor, req_to_token: Tensor, full_to_swa: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The slot of each position, and where it is known. Every gather is clamped first."""
    requests, context = req_to_token.shape
    row = request.clamp(0, requests - 1)[:, None]
    slot = req_to_token[row, position.clamp(0, context - 1)].to(torch.int64)
    known = (
        (position >= 0)
        & (position < context)
        & ((request > 0) & (request < requests))[:, None]
        & (slot >= 0)
    )
    if full_to_swa is None:
        return slot, known
    known = known & (slot < len(full_to_swa))
    slot = full_to_swa[slot.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
    return slot, known & (slot >= 0)
