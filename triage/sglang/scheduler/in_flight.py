"""What the scheduler did to request rows while a step was on its way, and what that excuses.

Under overlap SGLang queues step N + 1, and looks at the result of step N after that: a request
that ends there, is aborted, or is retracted while the step after is planned, still runs in
N + 1. Its row and pages are given back, and the mapping cleared, on the scheduler's stream
while the checks of N + 1 run on the forward's. So a check may see a row that is empty by then:

    I3  swa_loc = 8711, expected 0     translated before the mapping was cleared
    I2  the page of before             the table was built before, the row read after
    I1  page 0 in the window           the table was built after

None of it does harm. Whoever is given those pages gets them in a step that is queued later,
on the same stream, so what N + 1 reads is still there and what it writes is overwritten;
SGLang drops the row's output (`process_batch_result_decode`: `finished()` or `is_retracted`).

The rule: an offender in step N is excused where its request row was given back after N was
queued. A row given back before N was queued has no business in it: that is a use after free,
and so is a page that went while its request lives. An id or slot outside the pool is never
excused, since nothing that the scheduler does leads to one.

A row that lives on may be rewritten meanwhile: a prefix cache that finds its tokens under
pages of another request exchanges them (`cache_unfinished_req`) and frees the row's own. The
table of N + 1 names either, and both hold the same keys: columns of that span are excused.

Source: SGLang 0.5.14, `Scheduler.event_loop_overlap`, `_apply_war_barrier` and `run_batch`.
Host work only: rows are integers of the host.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from triage.device.checker import Offender, StepReport
from triage.evidence import Violation


class Span(NamedTuple):
    """Tokens of a row, half open, and the newest step that was queued when they changed."""

    step: int
    start: int
    stop: int


class InFlight:
    """The newest change of each request row, by the number of the newest queued step."""

    def __init__(self) -> None:
        self._released: dict[int, int] = {}
        self._rewritten: dict[int, Span] = {}

    def released(self, row: int, step: int) -> None:
        """A request gave `row` back while `step` was the newest one queued."""
        self._released[row] = step

    def rewritten(self, row: int, start: int, stop: int, step: int) -> None:
        """Tokens [start, stop) of `row` were given other slots of the same content."""
        before = self._rewritten.get(row)
        if before is not None and before.step == step:
            start, stop = min(start, before.start), max(stop, before.stop)
        self._rewritten[row] = Span(step, start, stop)

    def without_excused(self, report: StepReport, page_size: int) -> StepReport:
        """The report less the offenders that are excused, the very same if none is.

        Offenders beyond those the checker had room for are taken for what the kept ones are
        where all of those are excused; a defect is there in the next step too.
        """
        excused: list[Offender] = []
        rest: list[Offender] = []
        for offender in report.offenders:
            told = excused if self.excuses(report.step, offender, page_size) else rest
            told.append(offender)
        if not excused:
            return report
        fewer = Counter(offender.violation.invariant for offender in excused)
        counts = Counter(report.counts) - fewer if rest else {}
        return report._replace(counts=dict(counts), offenders=tuple(rest), excused=tuple(excused))

    def excuses(self, step: int, offender: Offender, page_size: int) -> bool:
        """Is this explained by what the scheduler did after `step` was queued?"""
        seen = offender.violation
        if not _in_the_pool(seen):
            return False
        row = seen.req_pool_index
        if row is None:  # a write of rows of unequal length: which row it was is not known
            cleared = seen.tensor == "swa_loc" and 0 in (seen.value, seen.expected)
            return cleared and any(at >= step for at in self._released.values())
        if self._released.get(row, -1) >= step:
            return True
        span = self._rewritten.get(row)
        if span is None or span.step < step or seen.tensor not in _IDS:
            return False
        tokens = max(page_size, 1) if seen.tensor == "block_tables" else 1
        return span.start <= seen.column * tokens < span.stop


_IDS = frozenset({"block_tables", "kv_indices", "window_kv_indices"})
"""What a launch reads its pages, or its slots, from; the column of a slot is its position."""


def _in_the_pool(seen: Violation) -> bool:
    """Is the value one that a row taken back, or a cleared mapping, leads to?"""
    if seen.tensor == "swa_loc":
        return 0 <= seen.value < seen.high
    if seen.tensor not in _IDS:
        return False
    return seen.invariant == "I2" or (seen.invariant == "I1" and seen.value == 0)
