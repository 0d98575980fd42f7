"""I7, I14, I15, I16, I29 where SGLang's scheduler queues a step: nothing is half done there.

The failure: a page that nobody names any more, a request that outgrew its row, a lock that
its request gave back twice or never. Each call of the allocator or of the tree was right by
itself; only the whole is wrong, and it can be seen only between two steps. The rule: what is
held is compared with the requests that the scheduler has, all of them or none. Whether they
are all is told by the request table: every row that is not free has a request.

Rows and locks are host integers, in every mode. Pages take the ledger and one copy of the
live rows to the host, so they are compared where a check may wait.

Not covered: pages and locks of a host cache, of disaggregation and of streaming sessions,
which hold them beside the requests (the comparison is left out there). Of a tree whose nodes are
out of reach (0.5.23's Rust core) a part is: see `path_locks.py`.

Long because what balances between two steps is asked at one moment, of the same requests.
"""

from __future__ import annotations

import logging
from typing import Any

from triage.device import capture
from triage.evidence import Evidence
from triage.invariants.books import (
    RowBooks,
    check_held_by_somebody,
    check_row_span,
    check_rows_fit,
)
from triage.invariants.draft_inputs import check_spec_rows
from triage.invariants.found import Found
from triage.invariants.ledger import HELD
from triage.invariants.tree import check_lock_holders, check_locked_tokens
from triage.sglang.allocator.holdings import (
    live_rows,
    named_slots,
    nobody_else_holds,
    pages_of,
    spec_rows,
    to_host,
)
from triage.sglang.allocator.ledger_hooks import LedgerHooks, grouping
from triage.sglang.allocator.path_locks import NOT_COVERED, locked_tokens
from triage.sglang.allocator.pool_sums import PoolSums
from triage.sglang.allocator.tree import TREES, tree_slots
from triage.sglang.allocator.tree_locks import locks_of_tree
from triage.sglang.holders import kept_by, row_of
from triage.sglang.reporter import POOL_SUMS, STEP_BOOKS, Reporter

logger = logging.getLogger("triage")

SCHEDULER_STEP = "sglang.srt.managers.scheduler.Scheduler.run_batch"

ALLOCATORS = (
    "SWATokenToKVPoolAllocator",
    "PagedTokenToKVPoolAllocator",
    "TokenToKVPoolAllocator",
)
"""Whose pages the ledger follows. Not: unified and per-request ring pools, HiSparse, DSV4."""

_NO_TREE = ("ChunkCache", "SWAChunkCache", "NoneType")


class StepBooks:
    """What must balance whenever a step is queued. `every` steps for what walks."""

    def __init__(
        self,
        reporter: Reporter,
        books: LedgerHooks,
        every: int = 1,
        uncovered: dict[str, str] | None = None,
    ) -> None:
        """uncovered: gets what is asked for and lies in a class that is not read: name -> why."""
        self.reporter = reporter
        self.books = books
        self.every = every
        self.uncovered = {} if uncovered is None else uncovered
        self.keeps_ledger = False  # are pages tracked beside?
        self.asked = False  # does it stand at `Scheduler.run_batch`?
        self.sums: PoolSums | None = None  # what balances in counts alone
        self.restart()

    def restart(self) -> None:
        self._steps = 0
        self._told_pages: set[tuple[str, int]] = set()
        self._told_rows: set[tuple[str, int]] = set()
        self._told_locks: set[tuple[str, int, int]] = set()

    # -- where it stands ---------------------------------------------------------------------

    def around_step(
        self, original: Any, scheduler: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self.reporter.holders.note(scheduler)
        self.at_step(batch)
        return original(scheduler, batch, *args, **kwargs)

    def around_write(self, original: Any, table: Any, indices: Any, values: Any) -> Any:
        """I14 before one row is written: SGLang's own write clamps or fails, a kernel does not."""
        if isinstance(indices, tuple) and len(indices) == 2:
            row, span = indices
            if isinstance(row, int) and isinstance(span, slice) and span.stop is not None:
                found = check_row_span(
                    row,
                    int(span.start or 0),
                    int(span.stop),
                    row_width=int(table.req_to_token.shape[1]),
                )
                if found is not None:
                    self.reporter.fire_event(found)
        return original(table, indices, values)

    def around_failed_alloc(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        """I7 where the pool is too full: is it, or is a part of it held by nobody?

        Not at one side of a hybrid allocator: the other may have given pages already.
        """
        slots = original(allocator, *args, **kwargs)
        if slots is None and self.books.alone(allocator):
            self._pages(self.reporter.holders.requests(), f"{original.__name__} failed")
        return slots

    def hooked_step(self) -> None:
        """`at_step` as its hook runs it, for a driver that has no `Scheduler.run_batch`."""
        if self.reporter.armed and self.asked:
            around = self.reporter.group(STEP_BOOKS).around(lambda original: self.at_step())
            around(lambda: None)
        sums = self.sums
        if self.reporter.armed and sums is not None:
            around = self.reporter.group(POOL_SUMS).around(lambda original: sums.at_step())
            around(lambda: None)

    # -- what is judged ----------------------------------------------------------------------

    def at_step(self, batch: Any = None) -> None:
        """Between two steps. batch: the ScheduleBatch that is about to be queued."""
        if capture.capturing():
            return
        self.books.empty_rows.clear()
        requests = self.reporter.holders.requests(batch)
        enabled = self.reporter.enabled
        if enabled & {"I14", "I15"}:
            self._rows(requests)
        if "I29" in enabled and batch is not None:
            self._speculation(batch)
        self._steps += 1
        if self._steps % self.every:
            return
        self._say_what_is_not_read()
        if self.reporter.whole("I16"):
            self._locks(requests)
        self._pages(requests, "between two steps")

    def _say_what_is_not_read(self) -> None:
        """Once for each class of allocator or tree that is another than those known here."""
        scheduler = self.reporter.holders.scheduler
        asked = (
            ("token_to_kv_pool_allocator", ALLOCATORS, "pages are not tracked (I4 to I8, I17)"),
            ("tree_cache", (*TREES, *_NO_TREE), "pages and locks are not compared (I7, I16)"),
        )
        for attribute, known, why in asked:
            name = type(getattr(scheduler, attribute, None)).__name__
            if name not in known and name != "NoneType" and name not in self.uncovered:
                self.uncovered[name] = f"{why}: a class that is not read"
                logger.warning("sglang-triage does not cover %s: %s", name, self.uncovered[name])

    def _rows(self, requests: list[Any]) -> None:
        table = self.books.only_table()
        if table is None:
            return
        width = int(table.req_to_token.shape[1])
        rows = [
            RowBooks(
                int(row),
                kept_by(request, "kv_committed_len"),
                kept_by(request, "kv_allocated_len"),
            )
            for request in requests
            if (row := row_of(request)) is not None
        ]
        for found in check_rows_fit(rows, row_width=width):
            row = found.violations[0].req_pool_index or 0
            if self._new(self._told_rows, (found.invariant, row)):
                self.reporter.fire_event(found)

    def _speculation(self, batch: Any) -> None:
        """What a draft is given for the next step has a row for each request of the batch."""
        decodes = getattr(getattr(batch, "forward_mode", None), "is_decode", None)
        if decodes is None or not decodes():
            return
        rows = spec_rows(getattr(batch, "spec_info", None))
        found = check_spec_rows(rows, requests=len(batch.reqs))
        if found is not None:
            self.reporter.fire_event(found)

    def _locks(self, requests: list[Any]) -> None:
        cache = getattr(self.reporter.holders.scheduler, "tree_cache", None)
        if type(cache).__name__ not in TREES or getattr(cache, "disable", False):
            return
        locks = locks_of_tree(cache)
        if locks is None:
            self._locked_tokens(cache, requests)
            return
        complete = self._all_known(requests) and nobody_else_holds(
            self.reporter.holders.scheduler, cache
        )
        for request in requests:
            complete &= locks.hold(request)
        self.reporter.counts["trees between steps"] += 1
        self.reporter.counts["trees with every holder known"] += complete
        for request in locks.outside:
            self._outside(request)
        found = check_lock_holders(
            locks.parent,
            locks.full,
            locks.swa,
            full_held=locks.full_held,
            swa_held=locks.swa_held,
            complete=complete,
            swa_exact=locks.swa_exact,
        )
        if not found.total:
            return
        first = found.violations()[0]
        if self._new(self._told_locks, (first.kind, first.row, first.value)):
            few = first.kind == Found.LOCK_BELOW_HOLDERS
            self.reporter.fire_findings(
                found,
                "I16",
                "a node of the tree is locked by fewer than hold it"
                if few
                else "a node of the tree is locked by more than hold it",
                "",
                "between two steps",
            )

    def _locked_tokens(self, cache: Any, requests: list[Any]) -> None:
        """The same, as far as a compiled core shows it."""
        seen = locked_tokens(cache, requests)
        if seen is None:
            return
        if NOT_COVERED[0] not in self.uncovered:
            self.uncovered.update([NOT_COVERED])
            logger.warning("sglang-triage does not cover %s: %s", *NOT_COVERED)
        complete = seen.complete and self._all_known(requests)
        complete &= nobody_else_holds(self.reporter.holders.scheduler, cache)
        self.reporter.counts["trees between steps"] += 1
        self.reporter.counts["trees with every holder known"] += complete
        for request in seen.outside:
            self._outside(request)
        found = check_locked_tokens(seen.locked, seen.held, complete=complete)
        if found is not None and self._new(self._told_locks, (str(found.kind), -1, 0)):
            self.reporter.fire_event(found)

    def _outside(self, request: Any) -> None:
        row = row_of(request) or 0
        if self._new(self._told_locks, (Found.HOLDER_OUTSIDE_TREE, row, 0)):
            self.reporter.fire_event(
                Evidence(
                    "I16",
                    f"the last node of request {row} is not in the tree: it was removed while the "
                    "request holds it",
                    "between two steps",
                    total=1,
                    facts={"request": row},
                    kind=Found.HOLDER_OUTSIDE_TREE,
                )
            )

    def _pages(self, requests: list[Any], where: str) -> None:
        """Of the pool that requests name; the SWA side follows by the mapping (I4)."""
        if not (self.keeps_ledger and "I7" in self.reporter.enabled and self.reporter.may_wait):
            return
        scheduler = self.reporter.holders.scheduler
        cache = getattr(scheduler, "tree_cache", None)
        table = self.books.only_table()
        name = type(cache).__name__
        if scheduler is None or table is None or not nobody_else_holds(scheduler, cache):
            return
        if name not in TREES and name not in _NO_TREE:
            return
        in_tree = None if name in _NO_TREE else tree_slots(cache)
        if in_tree is None and name not in _NO_TREE:
            return
        named = named_slots(table, requests, self.books.empty_rows)
        self.reporter.counts["host reads"] += 1
        for sub in self.books.full_sides():
            if grouping(sub):
                continue
            self.reporter.counts["pools between steps"] += 1
            ledger = self.books.of(sub).ledger
            if self.books.alone(sub):  # of a hybrid one it is asked where metadata are built
                self.books.audit(sub)
            held = (ledger.state == HELD) & ~self.books.of(sub).from_before
            found = check_held_by_somebody(
                "full",
                held,
                pages_of(named, ledger.page_size, len(held)),
                pages_of(
                    None if in_tree is None else to_host(in_tree), ledger.page_size, len(held)
                ),
                page_size=ledger.page_size,
                where=where,
            )
            if found is not None:
                first = found.facts["pages"][0]  # type: ignore[index]
                if self._new(self._told_pages, ("full", int(first))):
                    self.reporter.fire_event(found)

    def _all_known(self, requests: list[Any]) -> bool:
        """Does every row that is not free have a request that we know?"""
        table = self.books.only_table()
        return table is not None and live_rows(table) <= {row_of(request) for request in requests}

    def _new(self, told: set[Any], key: Any) -> bool:
        """Once each: what is lost stays lost, and would be told with every step."""
        if key in told:
            return False
        told.add(key)
        return True
