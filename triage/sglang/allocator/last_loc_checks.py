"""I20 where a request grows: behind which slot the allocator goes on, and what its row then says.

The failure: `last_loc` is another request's, so new tokens land in its page; or the row of
the request table is written at the wrong position. Both are wrong before any kernel runs.

The allocator's side is judged in the same host read as what it returned. The table's side
stands at `ReqToTokenPool.write`, one host read a call, and only beside the ledger; what
SGLang writes with a kernel of its own (extend, and the slots of a draft) is judged at the
launch that uses it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.rows import check_row_pages, rows_with_page
from triage.sglang.binding.shell import attempt
from triage.sglang.launch.entry import Entries
from triage.sglang.reporter import Reporter


class RowsWritten:
    """Stands around `ReqToTokenPool.write`."""

    def __init__(self, reporter: Reporter, entries: Entries) -> None:
        self.reporter = reporter
        self.entries = entries

    def around_write(self, original: Any, pool: Any, indices: Any, values: Any) -> Any:
        result = original(pool, indices, values)
        page = self.entries.page_size()
        if page > 1 and isinstance(values, Tensor) and values.numel():
            self.judge(pool.req_to_token, indices, values, page)
        return result

    def judge(self, table: Tensor, indices: Any, values: Tensor, page: int) -> None:
        """Report a row that does not follow its page, or does not hold what was written."""
        if not isinstance(indices, tuple) or len(indices) != 2:
            return
        rows, positions = indices
        if isinstance(positions, slice):
            span = range(*positions.indices(table.shape[1]))
            positions = torch.arange(span.start, span.stop, span.step, device=table.device)
        rows = torch.as_tensor(rows, device=table.device)
        positions = torch.as_tensor(positions, device=table.device)
        found = check_row_pages(table, rows, positions, page_size=page, written=values)
        self.reporter.counts["host reads"] += 1
        if not found.total or "I20" not in self.reporter.enabled:
            return
        violations = attempt("listing the offenders", found.violations, ())
        summary = "a row of the request table names a slot that does not follow its page's first"
        if violations and "written" in violations[0].tensor:
            summary = "a row of the request table does not hold what was written into it"
        others = attempt(
            "finding who holds the page",
            lambda: rows_with_page(table, violations[0].value, page, violations[0].req_pool_index),
            None,
        )
        self.reporter.fire_event(
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
