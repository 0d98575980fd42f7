"""I5, I6, I7, I20: what an allocator keeps, takes back and hands out.

The failure: two tokens share a slot, or a token is written to the dummy page,
and every later read is wrong though in range. The legal range is [PS, size + PS)
for paged pools and [1, size] for page size 1: page 0 is the dummy page and the
buffers have size + PS rows. A bound of `size` fires on the legal last page.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found


def check_allocated(slots: Tensor, *, size: int, page_size: int, tensor: str = "slots") -> Findings:
    """I20: every slot is legal and none was handed out twice in this call.

    Args:
        slots: `(tokens,)`, int32 or int64, any device. Unit: slots. Values may be anything.
        size: slots of the pool, without the dummy page.
        tensor: SGLang's name of it, as the message prints it.
    Returns: two I20 faults, out of range and repeated; the second and later
        holders of a slot are the offenders, row = position in `slots`.
    Cost: 16 small launches, one of them a sort; no sync until `read()`.
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
            Fault(
                "I20",
                tensor,
                (values < low) | (values >= high),
                values,
                low,
                high,
                kind=Found.SLOT_OUTSIDE_POOL,
            ),
            Fault(
                "I20",
                f"{tensor} (repeated)",
                repeated,
                values,
                low,
                high,
                kind=Found.SLOT_REPEATED,
            ),
        ]
    )


def check_continuation(
    held_tokens: Tensor,
    grows: Tensor,
    last_loc: Tensor,
    full_to_swa: Tensor,
    *,
    size_swa: int,
    page_size: int,
) -> Findings:
    """I20: a request that continues a partial page still owns the SWA side of it.

    Where it was evicted, `full_to_swa[last_loc]` is 0 and the allocator would
    map the new tokens onto the dummy page's rest.

    Args:
        held_tokens: `(requests,)`, tokens held before this call: prefix_lens of
            alloc_extend, seq_lens - 1 of alloc_decode.
        grows: `(requests,)`, bool: the call adds tokens to this request.
        last_loc: `(requests,)`, full-pool slot of the last of them; -1 for none.
        full_to_swa: `(slots,)`, the mapping before this call; not empty.
        size_swa: slots of the SWA pool, without the dummy page.
    Returns: one I20 fault over `full_to_swa[last_loc]`, row = request.
    Cost: about 8 small launches; no sync until `read()`.
    """
    last = last_loc.to(torch.int64)
    legal = (last >= 0) & (last < len(full_to_swa))
    swa = full_to_swa[last.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
    partial = grows & (held_tokens.to(torch.int64).remainder(page_size) != 0)
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
                kind=Found.CONTINUES_EVICTED_PAGE,
            )
        ]
    )


def check_last_slots(
    held_tokens: Tensor,
    grows: Tensor,
    last_loc: Tensor,
    *,
    page_size: int,
    req_to_token: Tensor | None = None,
) -> Findings:
    """I20: a request that continues a partial page goes on behind its own last token.

    The allocator hands out the slots behind `last_loc`, whoever's page that is. Its place
    in the page is that of token held - 1, and some row of the request table has it there.
    Whose row the allocator is not told, so two requests of one length whose slots were
    swapped pass here; `check_row_pages` sees them in the table.

    Args:
        held_tokens: `(requests,)`, tokens held before this call.
        grows: `(requests,)`, bool: the call adds tokens to this request.
        last_loc: `(requests,)`, full-pool slot of the last of them; -1 for none.
        req_to_token: `(rows, context)`; without it only the place in the page is judged.
    Returns: I20 faults over `last_loc`, row = request: its place in the page is not that of
        the request's last token (`expected` is the slot of the same page that is), and a row
        has that one at the request's last position, so it is an earlier slot of the own row;
        the same, and no row has; or the place is right and no row has the slot there.
    Cost: about 21 small launches over `(rows, requests)`; no sync until `read()`.
    Source: the assertion of `PagedTokenToKVPoolAllocator.alloc_extend` in debug mode.
    """
    last, held = last_loc.to(torch.int64), held_tokens.to(torch.int64)
    partial = grows & (held.remainder(page_size) != 0)
    place, due = last.remainder(page_size), (held - 1).remainder(page_size)
    misplaced = partial & (place != due)
    there = last - place + due  # the slot of the same page at the place that is due
    found: list[tuple[Found, Tensor, Tensor | None]]
    found = [(Found.LAST_LOC_PLACE, misplaced, there)]
    if req_to_token is not None:
        column = (held - 1).clamp(0, req_to_token.shape[1] - 1)
        named = req_to_token[:, column]
        own = misplaced & (named == there).any(dim=0)
        strange = partial & ~misplaced & ~(named == last).any(dim=0)
        found = [
            (Found.LAST_LOC_EARLIER, own, there),
            (Found.LAST_LOC_PLACE, misplaced & ~own, there),
            (Found.LAST_LOC_NOT_IN_ROWS, strange, None),
        ]
    return Findings(
        [
            Fault("I20", "last_loc", mask, last, page_size, 2**31, expected, kind=kind)
            for kind, mask, expected in found
        ]
    )


def check_failed_alloc(
    pool: str, *, free_before: int, free_after: int, unit: str = "tokens", where: str = "alloc"
) -> Evidence | None:
    """I7: an allocation that returned None took nothing.

    Cost: host integers only.
    """
    if free_before == free_after:
        return None
    summary = (
        f"the allocation failed, yet the {pool} pool went from {free_before} to "
        f"{free_after} free {unit}"
    )
    lost = abs(free_before - free_after)
    facts: dict[str, object] = {"free_before": free_before, "free_after": free_after}
    return Evidence(
        invariant="I7",
        summary=summary,
        where=where,
        pool=pool,
        total=lost,
        facts=facts,
        kind=Found.LEAKED_BY_FAILED_ALLOC,
    )
