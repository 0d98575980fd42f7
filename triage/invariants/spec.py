"""I22, I23: speculative decoding and page tables: what is converted, and what is restored.

The failure: a draft step leaves the target's state changed, or slots pass for
pages because a table was divided by the page size twice, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found
from triage.invariants.reads import IndexSpace


def check_granularity(
    block_tables: Tensor,
    cache_seqlens: Tensor,
    space: IndexSpace,
    *,
    req_pool_indices: Tensor,
    req_to_token: Tensor,
    full_to_swa: Tensor | None = None,
) -> Findings:
    """I22: a live entry is slot // PS, not the slot itself and not slot // PS // PS.

    It tells more than I2, which fires for the same entries: by what the value
    is, the mistake is named. Page size 1 has nothing to divide.

    Args: as in `reads.check_table`.
    Returns: two I22 faults over live entries of rows with a request; "divided twice"
        only where every entry of the row is, and two of them differ and are not 0: a
        single one agrees by chance, as where the mapping is asked with page ids.
    Cost: 56 launches over `(rows, width)`; no sync until `read()`.
    """
    table = block_tables.to(torch.int64)
    page, width = space.page_size, table.shape[1]
    length = cache_seqlens.to(torch.int64).clamp(0, width * page)
    request = req_pool_indices.to(torch.int64)
    requests, context = req_to_token.shape
    column = torch.arange(width, device=table.device)
    live = column < ((length + page - 1) // page)[:, None]
    live = live & ((request > 0) & (request < requests))[:, None] & (column * page < context)
    row = request.clamp(0, requests - 1)[:, None]
    slot = req_to_token[row, (column * page).clamp(max=context - 1)].to(torch.int64)
    if full_to_swa is not None:
        slot = full_to_swa[slot.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
    right = slot // page
    telling = live & (slot >= page)
    # Small ids divided once more are 0, as an evicted page is: the whole row must agree.
    again = telling & (table == right // page)
    some, most = again & (table > 0), torch.iinfo(torch.int64).max
    spare = table.new_zeros(len(table), 1)  # a table of no columns has no highest id
    highest = torch.cat([torch.where(some, table, 0), spare], dim=1).amax(dim=1, keepdim=True)
    lowest = torch.cat([torch.where(some, table, most), spare + most], dim=1)
    lowest = lowest.amin(dim=1, keepdim=True)
    twice = again & (again == telling).all(dim=1, keepdim=True) & (lowest < highest)
    live = telling & (table != right)
    pages = space.num_pages
    return Findings(
        [
            Fault(
                "I22",
                "block_tables (slots)",
                live & (table == slot),
                table,
                1,
                pages,
                right,
                kind=Found.SLOT_AS_PAGE,
            ),
            Fault(
                "I22",
                "block_tables (divided twice)",
                live & twice,
                table,
                1,
                pages,
                right,
                kind=Found.DIVIDED_TWICE,
            ),
        ]
    )


def check_restored(
    before: Mapping[str, object], after: Mapping[str, object], *, where: str = "draft step"
) -> Evidence | None:
    """I23: what a draft step or a capture changes for its duration is back, object by object.

    Args:
        before, after: attributes by name. Identity counts: an equal copy is a change.
    Cost: host only.
    """
    changed = [
        name for name, value in before.items() if name not in after or after[name] is not value
    ]
    changed += [name for name in after if name not in before]
    if not changed:
        return None
    summary = f"{', '.join(changed)} not restored"
    facts: dict[str, object] = {
        name: [_name(before.get(name)), _name(after.get(name))] for name in changed
    }
    return Evidence(
        "I23", summary, where, total=len(changed), facts=facts, kind=Found.STATE_NOT_RESTORED
    )


def _name(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__}@{id(value):x}"
