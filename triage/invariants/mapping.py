"""I4, I6, I8, I9: the mapping from full-pool slots to SWA slots.

The failure: an entry survives the page it belonged to, or names the page of
another; every SWA table built from it is wrong and in range. The rule: the
mapping holds exactly what the allocators of both pools hold, page by page.

Not for the modes without a mapping of their own: the per-request ring (it is
never written) and the pure SWA allocator (it is the identity).
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found


def check_mapping(
    full_to_swa: Tensor, full_held: Tensor, swa_held: Tensor, *, page_size: int
) -> Findings:
    """I4: non-zero entries belong to held full pages, map page onto page, and cover the SWA pool.

    Args:
        full_to_swa: `(full_pages * PS + 1,)`, integer; 0 = no peer, the last entry is -1.
            At page size 1 the dummy page is slot 0 alone.
        full_held, swa_held: `(full_pages,)` and `(swa_pages,)`, bool: pages that are
            allocated, dummy page 0 included in the count and False.
    Returns: I4 faults: over full slots (the entry is stale, illegal, off its place in the
        page, or its page is not that of the page's first mapped slot), over full pages
        (two map to one SWA page), over SWA pages (held, and nobody's).
    Cost: 57 launches over the whole mapping; once per N steps. No sync until `read()`.
    """
    full_pages, swa_pages = len(full_held), len(swa_held)
    slots = full_pages * page_size
    entry = full_to_swa[:slots].to(torch.int64).view(full_pages, page_size)
    slot = torch.arange(slots, device=entry.device).view(full_pages, page_size)
    mapped = entry != 0
    high = swa_pages * page_size
    illegal = mapped & ((entry < page_size) | (entry >= high))
    stale = mapped & ~full_held[:, None]
    legal = mapped & ~illegal
    offset = legal & (entry % page_size != slot % page_size)
    # The SWA page of a full page is that of its first legal entry.
    page = torch.where(legal, entry // page_size, swa_pages)
    first = page.gather(1, legal.to(torch.int8).argmax(dim=1, keepdim=True))
    split = legal & (page != first)

    target = first[:, 0]
    taken = target < swa_pages
    users = torch.zeros(swa_pages + 1, dtype=torch.int64, device=entry.device)
    users.index_add_(0, target, taken.to(torch.int64))
    shared = taken & (users[target] > 1)
    number = torch.arange(swa_pages, device=entry.device)
    used = users[:swa_pages] > 0
    orphan = swa_held & ~used & (number > 0)
    unheld = used & ~swa_held
    flat = [mask.view(-1) for mask in (stale | illegal, offset | split)]
    values = entry.view(-1)
    return Findings(
        [
            Fault(
                "I4",
                "full_to_swa_index_mapping",
                flat[0],
                values,
                page_size,
                high,
                kind=Found.MAPPING_STALE,
            ),
            Fault(
                "I4",
                "full_to_swa_index_mapping (off its page)",
                flat[1],
                values,
                0,
                high,
                kind=Found.MAPPING_LEAVES_ITS_PAGE,
            ),
            Fault(
                "I4",
                "full pages (sharing an SWA page)",
                shared,
                target,
                1,
                swa_pages,
                kind=Found.SWA_PAGE_SHARED,
            ),
            Fault(
                "I4",
                "SWA pages (held, not mapped)",
                orphan,
                number,
                1,
                swa_pages,
                kind=Found.SWA_PAGE_NOT_MAPPED,
            ),
            Fault(
                "I4",
                "SWA pages (mapped, not held)",
                unheld,
                number,
                1,
                swa_pages,
                kind=Found.SWA_PAGE_NOT_HELD,
            ),
        ]
    )


def check_cleared(free_index: Tensor, full_to_swa: Tensor, *, page_size: int) -> Findings:
    """I6: after `free` or `free_swa` the mapping is 0 on the whole full page of every slot.

    Args:
        free_index: `(n,)`, integer, the argument of the call; slots outside the
            mapping are skipped (the ledger's `free` names them).
        full_to_swa: `(slots,)`, the mapping after the call, free groups settled.
    Returns: one I6 fault, `(n, page_size)`: row = position in `free_index`.
    Cost: about 10 launches over n * page_size; no sync until `read()`.
    Source: SGLang clears token by token up to 0.5.13.post1 and page by page from 0.5.14,
        while the paged allocator takes whole pages back on all of them.
    """
    values = free_index.to(torch.int64)
    start = (values // page_size * page_size)[:, None]
    slot = start + torch.arange(page_size, device=values.device)
    known = (slot >= 0) & (slot < len(full_to_swa) - 1)
    entry = full_to_swa[slot.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
    mask = known & (entry != 0)
    return Findings(
        [Fault("I6", "full_to_swa_index_mapping", mask, entry, 0, 1, kind=Found.LEFT_MAPPED)]
    )


def check_left_alone(
    mapped_before: Tensor, full_to_swa: Tensor, free_index: Tensor, *, page_size: int
) -> Findings:
    """I6: a free unmaps no page but its own.

    Args:
        mapped_before: `(slots,)`, bool: entries that were not 0 before the call.
        full_to_swa: `(slots,)`, the mapping after it.
        free_index: `(n,)`, integer, the argument of the call.
    Returns: one I6 fault over the mapping, row = full slot.
    Cost: about 12 launches, three of them over the mapping; no sync until `read()`.
    """
    lost = mapped_before & (full_to_swa == 0)
    start = (free_index.to(torch.int64) // page_size * page_size)[:, None]
    own = start + torch.arange(page_size, device=start.device)
    lost[own.clamp(0, len(full_to_swa) - 1)] = False
    name = "full_to_swa_index_mapping (of a page that was not freed)"
    return Findings([Fault("I6", name, lost, full_to_swa, 1, 2**31, kind=Found.UNMAPPED_HELD_PAGE)])


def check_mapped(slots: Tensor, full_to_swa: Tensor, swa_slots: Tensor | None = None) -> Findings:
    """I8: every full slot that an allocation returned is mapped by this very call, or to 0.

    Args:
        slots: `(n,)`, full slots as returned.
        full_to_swa: `(slots,)`, the mapping after the call; not empty.
        swa_slots: `(n,)`, what the SWA side returned for them, 0 where it had none;
            None if the call asked for no SWA side: all must then be 0.
    Returns: one I8 fault, row = position in `slots`.
    Cost: about 8 small launches; no sync until `read()`.
    """
    values = slots.to(torch.int64)
    entry = full_to_swa[values.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
    wanted = torch.zeros_like(entry) if swa_slots is None else swa_slots.to(torch.int64)
    wrong = entry != wanted
    tensor = "full_to_swa_index_mapping[new]"
    kind = Found.MAPPING_NOT_OF_ALLOCATION
    return Findings([Fault("I8", tensor, wrong, entry, 0, 2**31, expected=wanted, kind=kind)])


def check_translation(indices: Tensor, translated: Tensor, full_to_swa: Tensor) -> Findings:
    """I9: a translation is what the mapping says now; -1 stays -1.

    Args:
        indices, translated: `(n,)`, integer, what went in and what came out.
    Returns: one I9 fault, row = position.
    Cost: about 8 small launches; no sync until `read()`.
    """
    wanted = full_to_swa[indices.to(torch.int64).clamp(-1, len(full_to_swa) - 1)].to(torch.int64)
    seen = translated.to(torch.int64)
    kind = Found.STALE_TRANSLATION
    return Findings(
        [Fault("I9", "translated", seen != wanted, seen, -1, 2**31, expected=wanted, kind=kind)]
    )
