"""I7, I14, I15 between two steps: what is held has a holder, and fits into its row.

The failure: a release that clamps leaves pages that no request and no tree names any more,
and the pool shrinks until nothing is admitted; or a request is given more tokens than its
row of the request table has columns, and a kernel writes the rest into its neighbour's row.
The rule: nothing is half done between two steps, so whatever is held is named by somebody,
and a request's own numbers are in order: 0 <= committed <= allocated <= columns.

Host integers and host arrays only; nothing here reads a device. Any page size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triage.evidence import Evidence, Violation
from triage.invariants.found import Found

NAMED_AT_MOST = 8
_UNBOUNDED = 1 << 31


@dataclass(frozen=True, slots=True)
class RowBooks:
    """What SGLang's own record says of the row of one request. Units: tokens.

    row: of `req_to_token`. committed, allocated: `kv_committed_len` and `kv_allocated_len`.
    """

    row: int
    committed: int
    allocated: int


def check_own_tokens(row: int, *, own_from: int, tree_to: int, where: str) -> Evidence | None:
    """I17: the node that a request locks ends where the tokens of its own begin, or before.

    Args:
        own_from: tokens of the request that its prefix cache has; it frees those behind.
        tree_to: tokens from the root to the end of the locked node.
    Cost: host integers; legal under capture.
    """
    if tree_to <= own_from:
        return None
    return _of_rows(
        "I17",
        Found.TREE_TOKENS_AS_OWN,
        f"request {row} counts its tokens from {own_from} on as its own, and the tree has "
        f"{tree_to}: what the cache frees of them is still in the tree",
        "cache_protected_len",
        [(row, own_from, tree_to)],
        where,
    )


def check_rows_fit(
    rows: list[RowBooks], *, row_width: int, where: str = "between two steps"
) -> tuple[Evidence, ...]:
    """I14, I15: every request fits into its row, and holds what it has committed.

    Args:
        row_width: columns of `req_to_token`.
    Returns: I14 with the rows that are too short, I15 with those whose committed tokens are
        more than the allocated ones; nothing where all is in order.
    Cost: host integers only; legal under capture.
    Source: `SchedulerInvariantChecker._check_kv_page_invariants` (0 <= committed <= allocated
        <= row width).
    """
    found = []
    spilt = [each for each in rows if each.allocated > row_width]
    if spilt:
        first = spilt[0]
        found.append(
            _of_rows(
                "I14",
                Found.ROW_TOO_SHORT,
                f"request {first.row} holds {first.allocated} tokens, its row of the request table "
                f"has {row_width} columns: the last {first.allocated - row_width} are in row "
                f"{first.row + 1} or behind the table",
                "kv_allocated_len",
                [(each.row, each.allocated, row_width + 1) for each in spilt],
                where,
            )
        )
    ahead = [each for each in rows if not 0 <= each.committed <= each.allocated]
    if ahead:
        first = ahead[0]
        found.append(
            _of_rows(
                "I15",
                Found.COMMITTED_NOT_ALLOCATED,
                f"request {first.row} has committed {first.committed} tokens and holds "
                f"{first.allocated}",
                "kv_committed_len",
                [(each.row, each.committed, each.allocated + 1) for each in ahead],
                where,
            )
        )
    return tuple(found)


def check_row_span(
    row: int, start: int, stop: int, *, row_width: int, where: str = "ReqToTokenPool.write"
) -> Evidence | None:
    """I14: positions [start, stop) of one row lie inside the row.

    Cost: host integers only; legal under capture.
    """
    if start >= 0 and stop <= row_width:
        return None
    past = stop > row_width
    return _of_rows(
        "I14",
        Found.ROW_TOO_SHORT,
        f"positions [{start}, {stop}) of row {row} are written, the request table has {row_width} "
        f"columns: " + (f"{stop - row_width} tokens go past the row" if past else "negative"),
        "req_to_token (columns)",
        [(row, stop if past else start, row_width + 1)],
        where,
    )


def check_held_by_somebody(
    pool: str,
    held: np.ndarray,
    by_rows: np.ndarray,
    by_tree: np.ndarray,
    *,
    page_size: int,
    where: str = "between two steps",
) -> Evidence | None:
    """I7: every page that is held is named by the row of a live request or by the tree.

    Args:
        pool: "full" or "swa", for the message.
        held: `(pages,)`, bool: pages that the ledger says are held, page 0 False.
        by_rows: `(pages,)`, bool: pages that a live row names anywhere; stale entries behind
            the request's end may hide a leak and never make one.
        by_tree: `(pages,)`, bool: pages of the nodes of the prefix cache.
    Returns: evidence with every term of the balance, or None.
    Cost: host arrays, a few bytes a page.
    Source: `SchedulerInvariantChecker.self_check_during_busy`, which sums and names no page.
    """
    lost = np.flatnonzero(held & ~by_rows & ~by_tree)
    if not len(lost):
        return None
    requests = int((held & by_rows & ~by_tree).sum())
    tree = int((held & by_tree).sum())
    free = int((~held).sum()) - 1  # the dummy page is not part of the balance
    total = len(held) - 1
    facts: dict[str, object] = {
        "free": free,
        "requests": requests,
        "tree": tree,
        "nobody": len(lost),
        "total": total,
        "page size": page_size,
        "pages": lost[:NAMED_AT_MOST].tolist(),
    }
    return Evidence(
        "I7",
        f"{len(lost)} pages are held by nobody, first page {lost[0]}: free {free} + requests "
        f"{requests} + tree {tree} = {free + requests + tree}, the pool has {total}",
        where,
        pool=pool,
        total=len(lost),
        facts=facts,
        kind=Found.HELD_BY_NOBODY,
    )


def check_recorded(row: int, recorded: int, allocated: int, *, where: str) -> Evidence | None:
    """I7: a request's own record has all the tokens that were just allocated for it.

    Cost: host integers; legal under capture.
    """
    if recorded >= allocated:
        return None
    return _of_rows(
        "I7",
        Found.ALLOCATED_NOT_RECORDED,
        f"{allocated} tokens are allocated for request {row}, and its kv_allocated_len says "
        f"{recorded}: the other {allocated - recorded} are allocated again with the next step, and "
        "never freed",
        "kv_allocated_len",
        [(row, recorded, _UNBOUNDED)],
        where,
    )


def check_adds_up(
    pool: str,
    *,
    size: int,
    free: int,
    in_tree: int,
    by_requests: int,
    page_size: int,
    where: str = "between two steps",
) -> Evidence | None:
    """I7: free, cached and held tokens are as many as the pool has; none is lost or counted twice.

    Args:
        size, free: of the pool, in tokens; the dummy page is in neither.
        in_tree: tokens of the prefix cache, locked ones included.
        by_requests: tokens allocated for requests behind what the cache has of them.
    Returns: evidence with every term of the balance, or None.
    Cost: host integers; legal under capture.
    Source: `SchedulerInvariantChecker._check_pool_invariant`.
    """
    lost = size - free - in_tree - by_requests
    if not lost:
        return None
    terms = f"free {free} + requests {by_requests} + tree {in_tree} = {size - lost} tokens"
    facts: dict[str, object] = {
        "free": free,
        "requests": by_requests,
        "tree": in_tree,
        "total": size,
        "page size": page_size,
    }
    if lost > 0:
        summary = f"{lost} tokens are held by nobody: {terms}, the pool has {size}"
    else:
        summary = f"{-lost} tokens are counted twice: {terms}, the pool has {size}"
    return Evidence(
        "I7",
        summary,
        where,
        pool=pool,
        total=abs(lost),
        facts=facts,
        kind=Found.COUNTS_SHORT if lost > 0 else Found.COUNTED_TWICE,
    )


def _of_rows(
    invariant: str,
    kind: Found,
    summary: str,
    tensor: str,
    rows: list[tuple[int, int, int]],
    where: str,
) -> Evidence:
    """rows: (row, value, one past the largest legal value)."""
    return Evidence(
        invariant,
        summary,
        where,
        pool="full",
        total=len(rows),
        rows_affected=len(rows),
        violations=tuple(
            Violation(
                invariant,
                tensor,
                row=position,
                column=0,
                value=value,
                low=0,
                high=high,
                req_pool_index=row,
                kind=kind,
            )
            for position, (row, value, high) in enumerate(rows[:NAMED_AT_MOST])
        ),
        kind=kind,
    )
