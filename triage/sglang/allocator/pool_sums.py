"""I7 in whole numbers: what is free, cached and held by requests is as much as the pool has.

The failure: pages are lost, or stand in two places at once, and nothing tells it before the pool is
full or idle. The ledger names the page and waits for the device, so it is off unless asked for.
Between two steps the counts alone balance on the host: the lengths of the free lists, the tree's
own sums, and of each request what was allocated for it behind its cached prefix. The rule: free +
tree + requests = pool, of each side of a hybrid pool. What does not add up is logged, once a pool
and kind; an exception would come behind the event, so none is raised in any mode.

A look walks the requests, so the next one waits until as many steps are over as `SHARE` goes into
them: few requests are looked at in every step, many now and then, at the same cost a step.

Before the first request has a row nothing is looked at: what warms up may hold pages.

What it does not see: which page, or a loss and a page too many at once. Left out, since others hold
pages too or count by another unit: disaggregation, host caches, sessions, decode context
parallelism, beams; rows whose request is not at hand (pipeline parallelism); classes of allocators
and trees that are not named here.

Source: `SchedulerInvariantChecker._get_total_uncached_sizes` and `_check_pool_invariant`, which
SGLang runs when it is idle, or in each step where SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_BUSY asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from triage.device import capture
from triage.evidence import Evidence
from triage.invariants.books import check_adds_up
from triage.sglang.allocator.frontier import frontier_of
from triage.sglang.allocator.holdings import nobody_else_holds
from triage.sglang.allocator.ledger_hooks import grouping
from triage.sglang.binding.free_lists import lists_of
from triage.sglang.binding.names import SUB_ALLOCATORS
from triage.sglang.holders import Holders, row_of, rows_of

SHARE = 3
"""Requests that a step may pay for."""

HYBRID, PURE = "SWATokenToKVPoolAllocator", "PureSWATokenToKVPoolAllocator"
TREES = ("RadixCache", "SWARadixCache", "UnifiedRadixCache", "PureSWARadixCache")
NO_TREES = ("ChunkCache", "SWAChunkCache", "PureSWAChunkCache")


@dataclass(frozen=True, slots=True)
class Side:
    """One pool: its allocator, and what its tree has of it. Units: tokens."""

    name: str
    allocator: Any
    in_tree: int


class PoolSums:
    """Of one process. `report` gets what does not add up, and logs it."""

    def __init__(self, holders: Callable[[], Holders], report: Callable[[Evidence], None]) -> None:
        self.holders = holders
        self.report = report
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.looks = 0
        self._credit = 0
        self._known = 0
        self._began = False  # has any request had a row yet?
        self._told: set[tuple[str, str]] = set()

    def before_step(self, scheduler: Any, args: Any, kwargs: Any) -> None:
        """At `Scheduler.run_batch(batch, ...)`."""
        self._credit += SHARE
        if self._credit >= self._known:
            self.holders().note(scheduler)
            self.look(args[0] if args else kwargs.get("batch"))

    def at_step(self, batch: Any = None) -> None:
        """As `before_step`, for a driver that has no `Scheduler.run_batch`."""
        self._credit += SHARE
        if self._credit >= self._known:
            self.look(batch)

    def look(self, batch: Any = None) -> None:
        """Between two steps. batch: the ScheduleBatch that is about to be queued.

        Cost: host integers, half a microsecond a request; no wait.
        """
        if capture.capturing():
            return
        self._credit = 0
        holders = self.holders()
        requests = holders.requests(batch)
        self._known = len(requests)
        self._look(holders.scheduler, requests)

    def _look(self, scheduler: Any, requests: list[Any]) -> None:
        tree = getattr(scheduler, "tree_cache", None)
        allocator: Any = getattr(tree, "token_to_kv_pool_allocator", None)
        table: Any = getattr(tree, "req_to_token_pool", None)
        if None in (allocator, tree, table) or not self._readable(allocator, tree):
            return
        if not nobody_else_holds(scheduler, tree) or grouping(allocator):
            return
        sides, page = tuple(_sides(allocator, tree)), int(allocator.page_size)
        if not sides or any(grouping(side.allocator) for side in sides):
            return
        rows = set(rows_of(requests)) - {None}
        given_out = len(table.req_to_token) - 1 - len(table.free_slots)
        self._began |= given_out > 0
        if len(rows) != given_out or not self._began:
            return
        held = _held(requests, page, slides=any(side.name == "swa" for side in sides))
        if held is None:
            return
        self.looks += 1
        for side in sides:
            found = check_adds_up(
                side.name,
                size=int(side.allocator.size),
                free=sum(map(len, lists_of(side.allocator))) * page,
                in_tree=side.in_tree,
                by_requests=held[side.name],
                page_size=page,
            )
            if found is not None and (side.name, found.found) not in self._told:
                self._told.add((side.name, found.found))
                self.report(found)

    @staticmethod
    def _readable(allocator: Any, tree: Any) -> bool:
        kind = type(tree).__name__
        if kind in NO_TREES or (kind in TREES and not getattr(tree, "disable", False)):
            return int(getattr(tree, "page_size", 0) or 0) == int(allocator.page_size)
        return False


def _sides(allocator: Any, tree: Any) -> Iterator[Side]:
    """The pools whose counts are known. A tree of another kind than its allocator has none."""
    kind, hybrid = type(allocator).__name__, hasattr(tree, "full_protected_size_")
    if kind in (HYBRID, PURE):
        names = ("full", "swa") if kind == HYBRID else ("swa",)
        for name in names:
            sub: Any = getattr(allocator, f"{name}_attn_allocator", None)
            if type(sub).__name__ not in SUB_ALLOCATORS or sub.free_pages is None:
                return
            counted = [
                getattr(tree, f"{name}_{each}_size")() for each in ("evictable", "protected")
            ]
            yield Side(name, sub, sum(map(int, counted)))
    elif kind in SUB_ALLOCATORS and not hybrid:
        yield Side("full", allocator, int(tree.evictable_size()) + int(tree.protected_size()))


def _held(requests: list[Any], page: int, *, slides: bool) -> dict[str, int] | None:
    """Tokens of each pool that requests hold behind what the tree has; None if one cannot say.

    Written out, for it is what a look costs. A request's record is told by its first request.
    """
    full = swa = 0
    first = requests[0] if requests else None
    record = getattr(first, "kv", None)
    by_kind = hasattr(record, "component_evicted_seqlens")  # from 0.5.23
    on_record = hasattr(record, "kv_allocated_len") or not hasattr(first, "kv_allocated_len")
    for request in requests:
        try:
            record = request.kv if on_record else request
            allocated = -(-record.kv_allocated_len // page) * page
        except AttributeError:  # this one is another than the first
            record = _record_of(request)
            if record is None:
                if row_of(request) is not None:  # a release that keeps it elsewhere
                    return None
                continue  # nothing is allocated
            allocated = -(-record.kv_allocated_len // page) * page
        protected = getattr(record if by_kind else request, "cache_protected_len", None)
        if protected is None or protected % page or protected > allocated:
            return None
        if by_kind and getattr(request, "beam_group", None) is not None:
            return None
        full += allocated - protected
        if not slides:
            continue
        swa += allocated - protected
        # An eviction may begin behind `protected`, and what lies between stays held.
        if by_kind:
            swa -= max(0, frontier_of(request) - int(record.swa_dead_lo(page)))
        elif (evicted := getattr(record, "swa_evicted_seqlen", 0)) > protected:
            shielded = getattr(request, "swa_evict_floor", 0)  # a prompt that is not evicted
            swa -= max(0, evicted - max(protected, -(-shielded // page) * page))
    return {"full": full, "swa": swa}


def _record_of(request: Any) -> Any:
    """Where a request keeps what is allocated for it; None if nowhere."""
    holders = (getattr(request, "kv", None), request)
    return next((each for each in holders if hasattr(each, "kv_allocated_len")), None)
