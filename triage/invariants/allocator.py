"""I20: what an allocator handed out is legal, unique, and continues what was there.

The failure: two tokens share a slot, or a token is written to the dummy page,
and every later read is wrong though in range. The legal range is [PS, size + PS)
for paged pools and [1, size] for page size 1: page 0 is the dummy page and the
buffers have size + PS rows. A bound of `size` fires on the legal last page.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.invariants.findings import Fault, Findings


def check_allocated(slots: Tensor, *, size: int, page_size: int, tensor: str = "slots") -> Findings:
    """I20: every slot is legal and none was handed out twice in this call.

    Args:
        slots: `(tokens,)`, int32 or int64, any device. Unit: slots. Values may be anything.
        size: slots of the pool, without the dummy page.
        tensor: SGLang's name of it, as the message prints it.
    Returns: two I20 faults, out of range and repeated; the second and later
        holders of a slot are the offenders, row = position in `slots`.
    Cost: one sort and about 10 small launches; no sync until `read()`.
    Source: `PagedTokenToKVPoolAllocator.clear` (pages from 1), MHATokenToKVPool
        (size + page_size rows).
    """
    values = slots.to(torch.int64)
    low, high = page_size, size + page_size
    if page_size == 1:
        low, high = 1, size + 1
    ordered, order = values.sort(stable=True)
    repeated = torch.zeros_like(values, dtype=torch.bool)
    repeated[order[1:]] = ordered[1:] == ordered[:-1]
    return Findings(
        [
            Fault("I20", tensor, (values < low) | (values >= high), values, low, high),
            Fault("I20", f"{tensor} (repeated)", repeated, values, low, high),
        ]
    )


def check_continuation(
    held_tokens: Tensor, last_loc: Tensor, full_to_swa: Tensor, *, size_swa: int, page_size: int
) -> Findings:
    """I20: a request that continues a partial page still owns the SWA side of it.

    Where it was evicted, `full_to_swa[last_loc]` is 0 and the allocator would
    map the new tokens onto the dummy page's rest.

    Args:
        held_tokens: `(requests,)`, tokens held before this call: prefix_lens of
            alloc_extend, seq_lens - 1 of alloc_decode.
        last_loc: `(requests,)`, full-pool slot of the last of them; -1 for none.
        full_to_swa: `(slots,)`, the mapping before this call; not empty.
        size_swa: slots of the SWA pool, without the dummy page.
    Returns: one I20 fault over `full_to_swa[last_loc]`, row = request.
    Cost: about 8 small launches; no sync until `read()`.
    """
    last = last_loc.to(torch.int64)
    legal = (last >= 0) & (last < len(full_to_swa))
    swa = full_to_swa[last.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
    partial = held_tokens.to(torch.int64).remainder(page_size) != 0
    swa = torch.where(legal, swa, -1)
    return Findings(
        [
            Fault(
                "I20",
                "full_to_swa[last_loc]",
                partial & ((swa < page_size) | (swa >= size_swa + page_size)),
                swa,
                page_size,
                size_swa + page_size,
            )
        ]
    )
