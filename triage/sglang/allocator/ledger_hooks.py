"""Keep a ledger beside SGLang's allocators: every page that moves is written down on both sides.

The failure: a page is freed twice, kept when an allocation fails, used after it
was freed, or mapped after it went back. SGLang's allocator holds a list of what
is free and cannot tell. The rule: whatever moves a page passes the two
sub-allocators (full and SWA), so that is where the ledger listens; the mapping
and the request table are compared with it at step boundaries.

Host work and device reads at every allocator call, so it is the family
`lifecycle`, off unless asked for. Not covered: the per-request ring and the
unified pools of 0.5.23, whose allocators are other classes.

Long because every way into an allocator is one method here, and all move one ledger.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.allocator import check_failed_alloc
from triage.invariants.findings import Findings, read_together
from triage.invariants.found import Found
from triage.invariants.ledger import (
    DEFERRED,
    FREE,
    HELD,
    PageLedger,
    RequestLedger,
    check_freed_while_locked,
)
from triage.invariants.mapping import check_cleared, check_left_alone, check_mapping
from triage.sglang.allocator.rows_left import RowsLeft
from triage.sglang.binding.free_lists import lists_of
from triage.sglang.holders import kept_by, row_of

Report = Callable[[Evidence], None]
"""Takes one finding, and normally raises."""

Requests = Callable[[], Iterable[Any]]
"""The requests that hold a row now, as far as the scheduler has them at hand."""


class PoolLedger:
    """The ledger of one sub-allocator. Nested calls of SGLang's own are one event."""

    def __init__(self, allocator: Any) -> None:
        page = int(allocator.page_size)
        pages = int(allocator.size) // page + 1
        self.ledger = PageLedger("pool", pages, page)
        self.depth = 0
        self._taken = np.zeros(pages, dtype=bool)
        listed = free_pages(allocator)
        if listed is not None:
            taken = self._taken
            taken[1:] = True
            taken[listed[(listed > 0) & (listed < pages)]] = False
            self.ledger.alloc(np.flatnonzero(taken) * page, where="before the hooks")

    @property
    def from_before(self) -> np.ndarray:
        """`(pages,)`, bool: taken before the ledger listened and not given back since."""
        return self._taken & (self.ledger.generation == 1)


class LedgerHooks:
    """The ledgers of a process. `report` gets every finding; `every` steps a full audit."""

    def __init__(self, report: Report, every: int = 1, requests: Requests = lambda: ()) -> None:
        self.report = report
        self.every = every
        self.requests = requests
        self._hybrids: WeakSet[Any] = WeakSet()
        self._acts_for: list[Any] = []  # requests that the tree works for, the innermost last
        self._locked: Tensor | None = None  # full slots that locks keep while an insert runs
        self.empty_rows: set[int] = set()  # given out since the last step, nothing allocated since
        self._left = RowsLeft()
        self.boundaries = 0
        self.agreed = 0  # free lists that said what the ledger says
        self._subs: WeakKeyDictionary[Any, PoolLedger] = WeakKeyDictionary()
        self._rows: WeakKeyDictionary[Any, RequestLedger] = WeakKeyDictionary()
        self._listed: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # free rows, as left
        self._trees = 0
        self.given: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()
        self._kept: WeakKeyDictionary[Any, list[tuple[Tensor, Tensor]]] = WeakKeyDictionary()
        self._released: list[int] = []  # rows given back while a free group was open

    def of(self, sub_allocator: Any) -> PoolLedger:
        books = self._subs.get(sub_allocator)
        if books is None:
            books = self._subs[sub_allocator] = PoolLedger(sub_allocator)
        return books

    def tree_seen(self) -> None:
        """A radix tree holds pages beside the requests from now on."""
        self._trees += 1

    @contextmanager
    def tree_acts(self, request: Any) -> Iterator[None]:
        """What is freed inside is the tree's doing, for `request` or, if None, for nobody."""
        self._acts_for.append(request)
        try:
            yield
        finally:
            self._acts_for.pop()

    @contextmanager
    def tree_inserts(self, locked: Tensor | None) -> Iterator[None]:
        """`locked`: full slots, `(n,)`, that no insert may free meanwhile; None for none."""
        before, self._locked = self._locked, locked
        try:
            yield
        finally:
            self._locked = before

    def full_sides(self) -> list[Any]:
        """The allocators whose slots rows and trees name: not the SWA sides."""
        swa = [getattr(each, "swa_attn_allocator", None) for each in list(self._hybrids)]
        return [sub for sub in list(self._subs) if not any(sub is each for each in swa)]

    def alone(self, sub: Any) -> bool:
        """Is it the allocator itself, not one side of a hybrid one?"""
        sides = ("full_attn_allocator", "swa_attn_allocator")
        return not any(
            sub is getattr(each, side, None) for each in list(self._hybrids) for side in sides
        )

    # -- one pool: around the sub-allocators' own methods --------------------------------

    def around_alloc(self, original: Any, sub: Any, *args: Any, **kwargs: Any) -> Any:
        books = self.of(sub)
        slots = nested(books, original, sub, args, kwargs)
        if slots is not None and books.depth == 0:
            self.empty_rows.clear()
            given = inspect.signature(original).bind(sub, *args, **kwargs).arguments
            continued = given.get("last_loc")
            found = books.ledger.alloc(
                _host(slots),
                where=original.__name__,
                continued=() if continued is None else _host(continued),
            )
            self.given[sub] = slots
            self._tell(found)
        return slots

    def around_free(self, original: Any, sub: Any, *args: Any, **kwargs: Any) -> Any:
        books = self.of(sub)
        if books.depth == 0:
            free_index = args[0] if args else next(iter(kwargs.values()))
            slots = _host(free_index)
            if original.__name__ == "free_page_ids":
                slots = slots * books.ledger.page_size
            if self._tree_works and any(sub is each for each in self.full_sides()):
                self._freed_by_tree(slots, books.ledger.page_size, original.__name__)
            self._freed(books, slots, original.__name__, grouping(sub))
        return nested(books, original, sub, args, kwargs)

    def around_group_end(self, original: Any, sub: Any, *args: Any, **kwargs: Any) -> Any:
        books = self.of(sub)
        result = nested(books, original, sub, args, kwargs)
        if books.depth == 0:
            books.ledger.settle()
        return result

    def around_clear(self, original: Any, sub: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(sub, *args, **kwargs)
        books = self._subs.get(sub)
        if books is None or books.ledger.num_pages != int(sub.size) // int(sub.page_size) + 1:
            self._subs[sub] = PoolLedger(sub)
        else:
            books.ledger.clear()
        return result

    def around_restore(self, original: Any, sub: Any, *args: Any, **kwargs: Any) -> Any:
        """A draft of older releases allocates and puts the free list back as it was."""
        result = original(sub, *args, **kwargs)
        listed = free_pages(sub)
        if listed is not None:
            self.of(sub).ledger.restore(listed, where="restore_state")
        return result

    def _freed(self, books: PoolLedger, slots: np.ndarray, where: str, deferred: bool) -> None:
        if deferred and where == "free":
            # Several frees of one group may share a page: SGLang makes them one set.
            pages = slots // books.ledger.page_size
            legal = pages.clip(0, books.ledger.num_pages - 1)
            slots = slots[(books.ledger.state[legal] != DEFERRED) | (legal != pages)]
        self._tell(books.ledger.free(slots, where=where, deferred=deferred))

    # -- both pools: around the SWA allocator ---------------------------------------------

    def around_swa_alloc(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        """I7: an allocation that says no must leave both pools as they were. Host integers."""
        self._hybrids.add(allocator)
        before = _available(allocator)
        slots = original(allocator, *args, **kwargs)
        if slots is None:
            for pool, count in _available(allocator).items():
                found = check_failed_alloc(
                    pool, free_before=before[pool], free_after=count, where=original.__name__
                )
                if found is not None:
                    self.report(found)
        return slots

    def around_swa_free(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        """I6: what goes back leaves its pages unmapped, and no other page."""
        self._name(allocator)
        free_index = args[0] if args else next(iter(kwargs.values()))
        slots = free_index.to(torch.int64).clone()  # the caller may pass a view of its table
        if self._tree_works and grouping(allocator) and "swa" not in original.__name__:
            self._freed_by_tree(_host(slots), int(allocator.page_size), original.__name__)
        mapped = None
        if len(slots) and has_mapping(allocator) and not grouping(allocator):
            mapped = allocator.full_to_swa_index_mapping != 0
        result = original(allocator, *args, **kwargs)
        if grouping(allocator) and any(kept is free_index for kept in allocator.free_group):
            self._kept.setdefault(allocator, []).append((free_index, slots))
        if mapped is not None and not grouping(allocator):
            mapping, page = allocator.full_to_swa_index_mapping, int(allocator.page_size)
            left = check_cleared(slots, mapping, page_size=page)
            alone = check_left_alone(mapped, mapping, slots, page_size=page)
            read_together([left, alone])
            name = original.__name__
            self._judge(left, "I6", f"{name} left SWA slots mapped", "swa", original)
            self._judge(
                alone, "I6", f"{name} unmapped a page that it did not free", "swa", original
            )
        return result

    def around_swa_group_end(self, original: Any, allocator: Any) -> Any:
        """I6: a group that keeps the caller's tensor frees what it holds by now."""
        for kept, then in self._kept.pop(allocator, ()):
            now = kept.to(torch.int64)
            if not torch.equal(now, then):
                first = int((now != then).nonzero()[0])
                summary = (
                    f"slot {int(now[first])} is freed at the end of the group, "
                    f"but it was {int(then[first])} that was given back: the group kept a view"
                )
                facts: dict[str, object] = {
                    "given back": int(then[first]),
                    "freed": int(now[first]),
                }
                self.report(
                    Evidence(
                        "I6",
                        summary,
                        "free_group_end",
                        pool="full",
                        total=1,
                        facts=facts,
                        kind=Found.GROUP_KEPT_A_VIEW,
                    )
                )
        original(allocator)
        released, self._released = self._released, []
        for row in released:
            self._leaked(row)

    @property
    def _tree_works(self) -> bool:
        return bool(self._acts_for) or self._locked is not None

    def _freed_by_tree(self, slots: np.ndarray, page: int, where: str) -> None:
        if self._acts_for:
            self._freed_under(slots, page, where)
        if self._locked is not None:
            found = check_freed_while_locked(slots, _host(self._locked), page, where)
            if found is not None:
                self.report(found)

    def _freed_under(self, slots: np.ndarray, page: int, where: str) -> None:
        """I17: what the tree gives back for one request is in the row of no other."""
        table = self.only_table()
        acts_for = self._acts_for[-1]
        others = [
            (int(row), kept_by(request, "kv_allocated_len"))
            for request in self.requests()
            if request is not acts_for and (row := row_of(request)) is not None
        ]
        if table is None or not others or not len(slots):
            return
        freed = np.unique(slots // page)
        width = min(max(length for _, length in others), table.req_to_token.shape[1])
        named = _host(table.req_to_token[[row for row, _ in others], :width]) // page
        for (row, length), pages in zip(others, named, strict=True):
            taken = np.intersect1d(freed[freed > 0], pages[:length])
            if len(taken):
                column = int(np.flatnonzero(pages[:length] == taken[0])[0])
                facts: dict[str, object] = {
                    "request": row,
                    "position": column,
                    "pages": taken[:8].tolist(),
                } | self._freed_for(table, acts_for, taken, page)
                self.report(
                    Evidence(
                        "I17",
                        f"page {taken[0]} is freed by the tree, and token {column} of request "
                        f"{row} still has it",
                        where,
                        pool="full",
                        total=len(taken),
                        facts=facts,
                        kind=Found.FREED_UNDER_A_REQUEST,
                    )
                )

    @staticmethod
    def _freed_for(table: Any, request: Any, taken: np.ndarray, page: int) -> dict[str, object]:
        """Whose doing it is, and whether that request's own row has one of these pages too."""
        row = row_of(request)
        if row is None:
            return {}
        named = _host(table.req_to_token[row, : kept_by(request, "kv_allocated_len")]) // page
        own = bool(np.intersect1d(taken, named).size)
        return {"freed for request": int(row), "which names them too": own}

    def _name(self, allocator: Any) -> None:
        self._hybrids.add(allocator)
        for pool in ("full", "swa"):
            self.of(getattr(allocator, f"{pool}_attn_allocator")).ledger.pool = pool

    # -- rows of req_to_token ---------------------------------------------------------------

    def around_row_alloc(self, original: Any, table: Any, *args: Any, **kwargs: Any) -> Any:
        """A request that has a row, as one that comes in chunks, is given it again."""
        rows, before = self._rows_of(table), len(table.free_slots)
        requests = args[0] if args else next(iter(kwargs.values()), ())
        had: set[int | None] = set()
        if isinstance(requests, list):
            had = {row_of(each) for each in requests}
            self._tell(self._left.given_again(requests))
        given = original(table, *args, **kwargs)
        self._listed[table] = len(table.free_slots)
        for row in given if given and len(table.free_slots) < before else ():
            if row not in had:
                self.empty_rows.add(int(row))
                self._tell(rows.acquire(int(row), where="ReqToTokenPool.alloc"))
        return given

    def around_row_free(self, original: Any, table: Any, *args: Any, **kwargs: Any) -> Any:
        request = args[0] if args else next(iter(kwargs.values()))
        row = row_of(request)
        if row is not None:
            rows = self._rows_of(table)
            self._tell(rows.release(row, where="ReqToTokenPool.free"))
            self._left.left(request, row)
            self._leaked(row)
        result = original(table, *args, **kwargs)
        self._listed[table] = len(table.free_slots)
        return result

    def only_table(self) -> Any:
        """The request table that was seen; None before, or where there are several."""
        tables = list(self._rows)
        return tables[0] if len(tables) == 1 else None

    def _rows_of(self, table: Any) -> RequestLedger:
        """Rows that are not free when the table is first seen were given out before.

        Sessions and beam search put rows back without `free`: where the list is longer or
        shorter than it was left, it is believed, and the ledger begins anew from it.
        """
        rows = self._rows.get(table)
        if rows is None or self._listed.get(table) != len(table.free_slots):
            taken = set(range(1, len(table.req_to_token))) - set(table.free_slots)
            rows = self._rows[table] = RequestLedger(taken)
        return rows

    def _leaked(self, row: int) -> None:
        """I7 without a tree: a request that gave its row back holds no page any more.

        What an open free group keeps is free when it ends, and is looked at then.
        """
        if self._trees:
            return
        if any(grouping(allocator) for allocator in self._hybrids):
            self._released.append(row)
            return
        for books in self._subs.values():
            ledger = books.ledger
            mine = np.flatnonzero((ledger.owner == row) & (ledger.state == HELD))
            if len(mine):
                summary = (
                    f"request {row} was released with {len(mine)} pages of the {ledger.pool} "
                    f"pool, first page {mine[0]}; nobody else can free them"
                )
                where = "ReqToTokenPool.free"
                facts: dict[str, object] = {"request": row, "pages": mine[:8].tolist()}
                self.report(
                    Evidence(
                        "I7",
                        summary,
                        where,
                        pool=ledger.pool,
                        total=len(mine),
                        facts=facts,
                        kind=Found.LEAKED_BY_REQUEST,
                    )
                )

    # -- a forward, and the boundary before it -------------------------------------------------

    def forward(
        self,
        allocator: Any,
        requests: Tensor,
        lengths: Tensor,
        table: Tensor,
        *,
        real_rows: int | None = None,
    ) -> None:
        """I17, I5: what the rows of a forward refer to is held, by one request a position.

        Args:
            requests, lengths: `(rows,)`; lengths in tokens, the queries included.
            table: `req_to_token`.
            real_rows: those behind are padding of a graph; None where nobody knows.
        """
        self._name(allocator)
        ledger = self.of(allocator.full_attn_allocator).ledger
        page = ledger.page_size
        owners: dict[int, tuple[int, int]] = {}
        given = zip(_host(requests).tolist(), _host(lengths).tolist(), strict=True)
        for row, (request, length) in enumerate(given):
            if request == 0:
                continue
            slots = _host(table[request, : min(length, table.shape[1]) : page])
            found = ledger.check_use(slots, where="forward", request=request)
            if found and real_rows is not None and row >= real_rows:
                found = _of_padding(found, row, request)
            self._tell(found)
            ledger.claim(slots, request)
            prefix = 0  # pages from the start that others have too
            for column, held in enumerate((slots // page).tolist()):
                if held == 0:
                    continue
                other, where = owners.setdefault(held, (request, column))
                if where != column:
                    self._aliased(
                        Found.ALIASED_POSITIONS,
                        (held, request, other),
                        f"page {held} is page {column} of request {request} and page {where} of "
                        f"request {other}",
                    )
                elif other != request and not (self._trees and prefix == column):
                    self._aliased(
                        Found.ALIASED_WITHOUT_PREFIX,
                        (held, request, other),
                        f"page {held} is page {column} of requests {other} and {request}, which "
                        "share no prefix that ends with it",
                    )
                elif other != request:
                    prefix = column + 1

    def _aliased(self, kind: Found, held: tuple[int, int, int], summary: str) -> None:
        """held: the page and the two requests that hold it, which may be one."""
        facts: dict[str, object] = {"page": held[0], "requests": list(held[1:])}
        self.report(
            Evidence("I5", summary, "forward", pool="full", total=1, facts=facts, kind=kind)
        )

    def boundary(self, allocator: Any) -> None:
        """I4, I5 over both pools, every `every` calls; nothing may be half done now."""
        self.boundaries += 1
        if self.boundaries % self.every or grouping(allocator):
            return
        self._name(allocator)
        subs = (allocator.full_attn_allocator, allocator.swa_attn_allocator)
        for sub in subs:
            self.audit(sub)
        if has_mapping(allocator):
            held = [torch.from_numpy(self.of(sub).ledger.state != FREE) for sub in subs]
            mapping = allocator.full_to_swa_index_mapping
            found = check_mapping(
                mapping,
                *(pages.to(mapping.device) for pages in held),
                page_size=int(allocator.page_size),
            )
            self._judge(found, "I4", "the mapping is not what the pools hold", "swa", None)

    def audit(self, sub: Any) -> None:
        """I5: the free list of one pool says what its ledger says. Reads the list."""
        listed = free_pages(sub)
        if listed is not None:
            self._tell(self.of(sub).ledger.audit(listed))
            self.agreed += 1

    # -- common ---------------------------------------------------------------------------------

    def _judge(self, found: Findings, invariant: str, summary: str, pool: str, call: Any) -> None:
        if found.total:
            self.report(
                Evidence(
                    invariant,
                    summary,
                    "step boundary" if call is None else call.__name__,
                    pool=pool,
                    total=found.total,
                    rows_affected=found.rows_affected,
                    violations=found.violations(),
                )
            )

    def _tell(self, found: Iterable[Evidence]) -> None:
        for evidence in found:
            self.report(evidence)

    def forget(self) -> None:
        """Something moved unseen: the ledgers are made anew from what is free by then."""
        self._subs.clear()
        self._rows.clear()
        self._listed.clear()
        self._kept.clear()
        self._released.clear()
        self.given.clear()
        self._acts_for.clear()
        self._locked = None
        self._left.clear()

    def restart(self) -> None:
        self.forget()
        self.boundaries = self.agreed = self._trees = 0


class Nesting(Protocol):
    """What counts the calls of one allocator that are under way."""

    depth: int


def nested(calls: Nesting, original: Any, allocator: Any, args: Any, kwargs: Any) -> Any:
    """SGLang's call, whose own calls of the same allocator are no events meanwhile."""
    calls.depth += 1
    try:
        return original(allocator, *args, **kwargs)
    finally:
        calls.depth -= 1


def _of_padding(found: Iterable[Evidence], row: int, request: int) -> tuple[Evidence, ...]:
    """`found` of a padded row, told as that: it should be of request 0 and read the dummy page."""
    said = f"padded row {row} of a graph is of request {request}, a row of an earlier batch"
    return tuple(
        replace(each, kind=Found.PADDING_READS_FREED, summary=f"{said}: {each.summary}")
        for each in found
    )


def grouping(allocator: Any) -> bool:
    """Is a free group open? A flag up to 0.5.18, a list from 0.5.23 on."""
    if hasattr(allocator, "is_not_in_free_group"):
        return not allocator.is_not_in_free_group
    return getattr(allocator, "free_group", None) is not None


def has_mapping(allocator: Any) -> bool:
    """Not for the per-request ring (never written) and pure SWA (the identity)."""
    if getattr(allocator, "swa_req_ring", False):
        return False
    return allocator.full_attn_allocator is not allocator.swa_attn_allocator


def free_pages(sub: Any) -> np.ndarray | None:
    """Everything the sub-allocator calls free, staged pages included; None before its `clear`."""
    present = [_host(part) for part in lists_of(sub)]
    return np.concatenate(present) if present else None


def _available(allocator: Any) -> dict[str, int]:
    return {
        pool: int(getattr(allocator, f"{pool}_attn_allocator").available_size())
        for pool in ("full", "swa")
    }


def _host(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(torch.int64).cpu().numpy()
