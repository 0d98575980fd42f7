"""I20 in the request table: the tokens of one page of a row lie in one page of the pool.

The failure: a request goes on in a page of another, or its row is written at the wrong
position. Attention reads a page by the slot of its first token, so what a row says of
the others is only true if they lie behind it. The rule: slot = slot of the page's first
token + place in the page, for every token; a row holds what was written into it.

Not covered: whose the page is. Pages of one token have nothing to compare.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found


def check_row_pages(
    req_to_token: Tensor,
    rows: Tensor,
    positions: Tensor,
    *,
    page_size: int,
    written: Tensor | None = None,
) -> Findings:
    """I20 for entries of the request table.

    Args:
        req_to_token: `(requests, context)`, integer, full-pool slots.
        rows, positions: `(tokens,)` or broadcastable, integer, inside the table.
        written: `(tokens,)`, what was just stored there; None to judge the pages alone.
    Returns: I20 faults, row = token; `expected` is the slot that belongs there.
    Cost: about 12 small launches; no sync until `read()`.
    """
    rows, positions = torch.broadcast_tensors(rows.to(torch.int64), positions.to(torch.int64))
    held = req_to_token[rows, positions].to(torch.int64)
    place = positions.remainder(page_size)
    first = req_to_token[rows, positions - place].to(torch.int64)
    faults = []
    if written is not None:
        as_written = written.to(torch.int64).expand(held.shape)
        name = "req_to_token (written)"
        kind = Found.ROW_NOT_AS_WRITTEN
        unlike = held != as_written
        faults.append(
            Fault("I20", name, unlike, held, 0, 2**31, as_written, request=rows, kind=kind)
        )
    expected = first + place
    apart = (held != expected) & (first >= page_size)
    faults.append(
        Fault(
            "I20",
            "req_to_token",
            apart,
            held,
            0,
            2**31,
            expected,
            request=rows,
            kind=Found.ROW_LEAVES_ITS_PAGE,
        )
    )
    return Findings(faults)


def rows_with_page(table: Tensor, slot: int, page_size: int, but: int | None = None) -> list[int]:
    """Rows of the request table that name the page of `slot`, all of them. Synchronises."""
    if slot < page_size:
        return []
    rows = (table // page_size == slot // page_size).any(dim=1).nonzero().flatten().tolist()
    return [row for row in rows if row not in (0, but)]
