"""I5 and I17 without a wait: the pages of the requests that decode, against the free lists.

The failure is the ledger's: a page is freed while somebody reads it, or twice, so that two
requests have it. The ledger reads each call's slots at once, which waits for the device, so it
is off unless asked for. This looks at one pool every `EVERY` decode steps: behind
`ScheduleBatch.prepare_for_decode`, on the scheduler's own stream, where the request table, the
mapping and the free lists are those of one plan, whatever runs on the device meanwhile. What
is wrong comes to the host by an asynchronous copy, and is logged at the next step that finds it
there, once of each kind, with a dump: up to twice `EVERY` steps after it happened, and one more.
An exception would come too late to keep anything from anybody, so none is raised in any mode.

What it does not see: what was wrong and right again between two looks, pages of requests that
do not decode, pages of the SWA pool that begin before the window, one page at the same column of
two rows whose tokens differ, leaks, the mapping of free pages. Not covered: speculative decoding,
whose lengths the plan does not know yet; allocators that are not SGLang's two of one pool (the
per-request ring, the unified pools of 0.5.23).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

from triage.device import capture
from triage.device.late_copies import LateCopies
from triage.device.page_audit import Contradictions, PageAudit, contradictions
from triage.evidence import Evidence, Violation
from triage.invariants.found import Found
from triage.sglang.allocator.ledger_hooks import grouping
from triage.sglang.binding.free_lists import lists_of
from triage.sglang.binding.names import SUB_ALLOCATORS

Report = Callable[[Evidence], None]
"""Takes one finding and says it."""

EVERY = 64
"""Decode steps from one look to the next, which is at the other pool."""

PREPARE = "sglang.srt.managers.schedule_batch.ScheduleBatch.prepare_for_decode"
_WHERE = "ScheduleBatch.prepare_for_decode"


class _Look(NamedTuple):
    """One look at one pool, as the step with the next number was planned."""

    step: int
    pool: str
    num_pages: int
    tokens: int  # of the columns that were looked at


class LateAudit:
    """Stands around the preparation of a decode step.

    Args:
        report: gets the first finding of each kind.
        step: the number of the newest step.
        every: decode steps from one look to the next.
    """

    def __init__(self, report: Report, step: Callable[[], int], every: int = EVERY) -> None:
        self.report = report
        self.step = step
        self.every = every
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.looks = 0
        self._said: set[str] = set()
        self._until = 1
        self._turn = -1
        self._pools: WeakKeyDictionary[Any, PageAudit] = WeakKeyDictionary()
        self._copies: LateCopies[_Look] | None = None
        self._all_columns = False  # are the host's lengths not to be gone by?

    def before_prepare(self, batch: Any, args: Any, kwargs: Any) -> Any:
        """Tell what has arrived. Returns what `behind_prepare` is given."""
        copies = self._copies
        if copies is not None and copies.waiting:
            self.tell()
        return batch

    def behind_prepare(self, batch: Any, result: Any = None) -> None:
        """Look if it is time to: not while SGLang's own error is on its way."""
        self._until -= 1
        if self._until <= 0 and not capture.capturing() and sys.exc_info()[0] is None:
            self._until = self.every
            self._look(batch)

    def tell(self) -> None:
        """Report what has arrived. An event query for each look on its way."""
        if self._copies is None:
            return
        for look, numbers in self._copies.arrived():
            self.looks += 1
            found = contradictions(numbers)
            self._all_columns |= found.longest > look.tokens
            if found.any:
                for evidence in _evidence(look, found):
                    if evidence.kind not in self._said:
                        self._said.add(evidence.kind)
                        self.report(evidence)

    def _look(self, batch: Any) -> None:
        allocator = getattr(batch, "token_to_kv_pool_allocator", None)
        algorithm = getattr(batch, "spec_algorithm", None)
        known = algorithm is None or algorithm.is_none()
        if allocator is None or not known or not batch.reqs or grouping(allocator):
            return
        subs = dict(_subs(allocator))
        if not subs:
            return
        self._turn += 1
        name = list(subs)[self._turn % len(subs)]
        sub, rows, lengths = subs[name], batch.req_pool_indices, batch.seq_lens
        table: Tensor = batch.req_to_token_pool.req_to_token
        page = int(allocator.page_size)
        if self._copies is None:
            self._copies = LateCopies(table.device)
        if self._copies.full:
            return
        window = None
        if name == "swa":
            window = getattr(getattr(batch, "tree_cache", None), "sliding_window_size", None)
            if window is None:
                return
        audit, tokens = self._audit(sub), self._tokens(batch, table.shape[1], page)
        slots = audit.read(table[:, :tokens:page].index_select(0, rows), lengths, window)
        if name == "swa":
            mapping = allocator.full_to_swa_index_mapping
            slots = mapping.take(slots.clamp_(0, len(mapping) - 2)).long()
        lists = [part for part in lists_of(sub) if part.numel()]
        numbers = audit.look(slots, rows, lengths, lists)
        self._copies.send([numbers], _Look(self.step(), name, audit.num_pages, tokens))

    def _tokens(self, batch: Any, width: int, page: int) -> int:
        """So many the longest request has by the host's lengths, in whole pages; all of a row
        where the host has none, or once the device's were found to be longer."""
        known = getattr(batch, "seq_lens_cpu", None)
        if self._all_columns or known is None or not known.is_cpu or not len(known):
            return width
        return min(-(-int(np.maximum.reduce(known.numpy())) // page) * page, width)

    def _audit(self, sub: Any) -> PageAudit:
        audit, page = self._pools.get(sub), int(sub.page_size)
        pages = int(sub.size) // page + 1
        if audit is None or audit.num_pages != pages:
            audit = self._pools[sub] = PageAudit(pages, page, sub.free_pages.device)
        return audit


def _subs(allocator: Any) -> Iterator[tuple[str, Any]]:
    """The allocators of one pool in an SWA allocator whose lists can be read."""
    subs: dict[str, Any] = {
        name: getattr(allocator, f"{name}_attn_allocator", None) for name in ("full", "swa")
    }
    if subs["full"] is subs["swa"]:  # every layer slides: behind the window slots are free
        del subs["full"]
    if getattr(allocator, "swa_req_ring", False):  # it has no page for a slot
        del subs["swa"]
    for name, sub in subs.items():
        if type(sub).__name__ in SUB_ALLOCATORS and sub.free_pages is not None:
            yield name, sub


def _evidence(look: _Look, found: Contradictions) -> Iterator[Evidence]:
    pool, num_pages = look.pool, look.num_pages
    facts: dict[str, object] = {"looked at behind step": look.step}

    def made(invariant: str, kind: Found, page: int, summary: str, row: int, at: int) -> Evidence:
        request = row or None
        violation = Violation(
            invariant,
            f"{pool} pages",
            row=0,
            column=at,
            value=page,
            low=1,
            high=num_pages,
            req_pool_index=request,
            kind=kind,
        )
        known = facts | ({"request": row} if row else {})
        return Evidence(
            invariant,
            summary,
            _WHERE,
            pool=pool,
            total=1,
            rows_affected=1,
            violations=(violation,),
            facts=known,
            kind=kind,
        )

    if found.read:
        text = (
            f"page {found.page} is page {found.column} of request {found.request}, which "
            "decodes, and is listed as free"
        )
        where = (found.request, found.column)
        yield made("I17", Found.USED_AFTER_FREE, found.page, text, *where)
    if found.listed > 1:
        text = f"page {found.twice} is {found.listed} times in the free list"
        yield made("I5", Found.LISTED_TWICE, found.twice, text, 0, 0)
    if found.moved:
        (at, request), (also_at, also) = found.first, found.second
        places = (
            f"page {at} and page {also_at} of request {request}, which decodes"
            if also == request
            else f"page {at} of request {request} and page {also_at} of request {also}, which "
            "both decode"
        )
        text = f"page {found.moved} is {places}: no common prefix explains it"
        yield made("I5", Found.ALIASED_POSITIONS, found.moved, text, request, at)
    if found.dummy:
        yield made("I5", Found.LISTED_DUMMY, 0, "the free list names the dummy page 0", 0, 0)
