"""I20 where a request grows: behind which slot the allocator goes on, and what its row then says.

The failure: `last_loc` is another request's, so new tokens land in its page; or the row of
the request table is written at the wrong position. Both are wrong before any kernel runs.

The allocator's side is judged in the same host read as what it returned. The table's side
stands at `ReqToTokenPool.write`, one host read a call, and only beside the ledger; what
SGLang writes with a kernel of its own (extend, and the slots of a draft) is judged at the
launch that uses it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.allocator import check_last_slots
from triage.invariants.findings import Findings
from triage.invariants.rows import check_row_pages


def last_slots(
    original: Any, allocator: Any, args: Any, kwargs: Any, table: Tensor | None
) -> Findings | None:
    """The check of `last_loc` for one call of `alloc_extend` or `alloc_decode`; unread."""
    given = inspect.signature(original).bind(allocator, *args, **kwargs).arguments
    last, lengths = given.get("last_loc"), given.get("seq_lens")
    page = int(allocator.page_size)
    if last is None or lengths is None or page == 1 or not len(last):
        return None
    held = given["prefix_lens"] if "prefix_lens" in given else lengths - 1
    return check_last_slots(
        held.to(last.device),
        (lengths > held).to(last.device),
        last,
        page_size=page,
        req_to_token=None if table is None else table.to(last.device),
    )


def holders(table: Tensor, slot: int, page_size: int, but: int | None = None) -> list[int]:
    """Rows of the request table that name the page of `slot`, at most eight. Synchronises."""
    if slot < page_size:
        return []
    rows = (table // page_size == slot // page_size).any(dim=1).nonzero().flatten().tolist()
    return [row for row in rows if row not in (0, but)][:8]


class RowsWritten:
    """Stands around `ReqToTokenPool.write`."""

    def __init__(self, traps: Any) -> None:
        self.traps = traps

    def around_write(self, original: Any, pool: Any, indices: Any, values: Any) -> Any:
        result = original(pool, indices, values)
        page = self.traps.entries.page_size()
        judged = page > 1 and not self.traps.ranges_only
        if judged and isinstance(values, Tensor) and values.numel():
            self._judge(pool.req_to_token, indices, values, page)
        return result

    def _judge(self, table: Tensor, indices: Any, values: Tensor, page: int) -> None:
        if not isinstance(indices, tuple) or len(indices) != 2:
            return
        rows, positions = indices
        if isinstance(positions, slice):
            span = range(*positions.indices(table.shape[1]))
            positions = torch.arange(span.start, span.stop, span.step, device=table.device)
        rows = torch.as_tensor(rows, device=table.device)
        positions = torch.as_tensor(positions, device=table.device)
        found = check_row_pages(table, rows, positions, page_size=page, written=values)
        self.traps.counts["host reads"] += 1
        if not found.total or "I20" not in self.traps.enabled:
            return
        violations = found.violations(limit=16)
        first = violations[0]
        summary = "a row of the request table names a slot that does not follow its page's first"
        if "written" in first.tensor:
            summary = "a row of the request table does not hold what was written into it"
        others = holders(table, first.value, page, first.req_pool_index)
        self.traps.fire_event(
            Evidence(
                "I20",
                summary,
                "ReqToTokenPool.write",
                pool="full",
                total=found.total,
                rows_affected=found.rows_affected,
                violations=violations,
                facts={"rows_with_that_page": others},
            )
        )
