"""The shadow ledger: who holds each page of a pool, since when, and when it was let go.

The failure: a page is freed twice, read after it was freed, handed to two
owners, or lost when an allocation fails; the allocator keeps a list of what is
free and cannot tell. The rule: the ledger hears every allocation and every free,
and an event that contradicts what it heard is evidence that names the earlier
event.

It keeps its own books on the host, in numpy: feeding it device tensors costs a
sync per event, so it belongs to the expensive checks. It changes nothing of what
it watches.

Memory: 25 bytes per page. Time: proportional to the pages of an event.

Long because pages and rows are moved by the same events and named by the same history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from triage.evidence import Evidence, Violation
from triage.invariants.found import Found

FREE, HELD, DEFERRED = 0, 1, 2
STATES = ("free", "held", "freed, group open")

NOBODY, TREE, UNKNOWN = -1, -2, -3
"""Owners that are no request: nobody, the radix tree, a request not known yet."""

_OF_THE_DUMMY = {
    Found.FREED_ILLEGAL: Found.FREED_DUMMY,
    Found.LISTED_ILLEGAL: Found.LISTED_DUMMY,
}

Pages = np.ndarray | Iterable[int]
_NO_FACTS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Event:
    """One call that the ledger heard of."""

    number: int
    kind: str  # "alloc", "free", "claim"
    where: str
    pages: int


class PageLedger:
    """The pages of one pool.

    Args:
        pool: name for messages, "full" or "swa".
        num_pages: pages of the pool, dummy page 0 included; slots for page size 1.
        history: events kept for messages.
    """

    def __init__(self, pool: str, num_pages: int, page_size: int, *, history: int = 4096) -> None:
        self.pool = pool
        self.num_pages = num_pages
        self.page_size = page_size
        self.state = np.zeros(num_pages, dtype=np.uint8)
        self.owner = np.full(num_pages, NOBODY, dtype=np.int32)
        self.generation = np.zeros(num_pages, dtype=np.uint32)
        self._allocated_at = np.zeros(num_pages, dtype=np.int64)
        self._freed_at = np.zeros(num_pages, dtype=np.int32)
        self._freed_of = np.full(num_pages, NOBODY, dtype=np.int32)
        self.events: deque[Event] = deque(maxlen=history)
        self._next = 1

    # -- what the allocator does --------------------------------------------------------

    def alloc(
        self,
        slots: Pages,
        *,
        where: str,
        owner: int = UNKNOWN,
        continued: Pages = (),
    ) -> tuple[Evidence, ...]:
        """Slots were handed out. Pages must be free, but for those of `continued`.

        Args:
            slots: as returned, any order; several of a page are one page.
            continued: last slots of the requests that continue a partial page
                (`last_loc`); -1 and other illegal ones are passed over.
        Returns: I20 for an illegal page, I5 for one that is held already.
        """
        pages, illegal = self._pages(slots)
        event = self._note("alloc", where, len(pages))
        found = self._illegal("I20", Found.HANDED_OUT_ILLEGAL, illegal, event, "handed out")
        carried, _ = self._pages(continued)
        held = pages[self.state[pages] != FREE]
        fresh = pages[self.state[pages] == FREE]
        stolen = held[~np.isin(held, carried) | (self.state[held] == DEFERRED)]
        found += self._evidence(
            "I5", Found.HANDED_OUT_HELD, stolen, event, "handed out, but it is {state}"
        )
        self._hold(fresh, owner, event.number)
        self._hold(stolen, owner, event.number)
        return found

    def free(self, slots: Pages, *, where: str, deferred: bool = False) -> tuple[Evidence, ...]:
        """Slots were given back, page-wise. Every page must be held.

        Args:
            deferred: a free group is open; the pages are free once it is settled.
        Returns: I6 for an illegal page, one that is free already, or one that was
            never allocated; each sentence names the event that freed it before.
        """
        pages, illegal = self._pages(slots)
        event = self._note("free", where, len(pages))
        found = self._illegal("I6", Found.FREED_ILLEGAL, illegal, event, "freed")
        wrong = pages[self.state[pages] != HELD]
        never = wrong[self.generation[wrong] == 0]
        twice = wrong[self.generation[wrong] > 0]
        found += self._evidence(
            "I6", Found.NEVER_ALLOCATED, never, event, "freed, but it was never allocated"
        )
        mine = self.owner[pages[self.state[pages] == HELD]]
        found += self._evidence(
            "I6",
            Found.FREED_TWICE,
            twice,
            event,
            "freed, but it is {state} since {freed}",
            facts={
                "freed before as pages of": np.unique(self._freed_of[twice]).tolist(),
                "freed now with pages of": np.unique(mine).tolist(),
            },
        )
        self._freed_of[pages[self.state[pages] == HELD]] = mine
        self.state[pages] = DEFERRED if deferred else FREE
        self.owner[pages] = NOBODY
        self._freed_at[pages] = event.number
        return found

    def settle(self) -> None:
        """The free group ended: what it deferred is free now."""
        self.state[self.state == DEFERRED] = FREE

    def clear(self) -> None:
        """The allocator was cleared: every page is free, generations go on."""
        held = np.flatnonzero(self.state != FREE)
        event = self._note("clear", "clear", len(held))
        self.state[:] = FREE
        self.owner[:] = NOBODY
        self._freed_at[held] = event.number

    def restore(self, free_pages: Pages, *, where: str) -> None:
        """The allocator put an earlier free list back: what it lists is free, the rest is held."""
        pages, _ = self._pages(free_pages, slots=False)
        event = self._note("restore", where, len(pages))
        free = np.zeros(self.num_pages, dtype=bool)
        free[pages] = True
        numbers = np.arange(1, self.num_pages)
        returned = numbers[free[1:] & (self.state[1:] != FREE)]
        self.state[returned] = FREE
        self.owner[returned] = NOBODY
        self._freed_at[returned] = event.number
        self._hold(numbers[~free[1:] & (self.state[1:] == FREE)], UNKNOWN, event.number)

    # -- who uses the pages -------------------------------------------------------------

    def claim(self, slots: Pages, owner: int) -> None:
        """Say who holds the pages of `slots`: a request index, TREE or UNKNOWN. Held ones only."""
        pages, _ = self._pages(slots)
        self.owner[pages[self.state[pages] == HELD]] = owner

    def check_use(
        self, slots: Pages, *, where: str, request: int | None = None
    ) -> tuple[Evidence, ...]:
        """I17: pages that a forward, a transfer or a request refers to are held.

        Page 0, what eviction leaves behind, is passed over: the read checks judge it.
        """
        pages, illegal = self._pages(slots, dummy_allowed=True)
        event = Event(self._next - 1, "use", where, len(pages))
        found = self._illegal("I17", Found.USED_ILLEGAL, illegal, event, "used")
        gone = pages[self.state[pages] != HELD]
        freed, never = gone[self.generation[gone] > 0], gone[self.generation[gone] == 0]
        found += self._evidence(
            "I17",
            Found.USED_AFTER_FREE,
            freed,
            event,
            "used after it was freed by {freed}",
            request,
        )
        return found + self._evidence(
            "I17",
            Found.USED_NEVER_ALLOCATED,
            never,
            event,
            "used, but nobody was given it",
            request,
        )

    # -- the balance ----------------------------------------------------------------------

    def audit(self, free_pages: Pages, *, where: str = "step boundary") -> tuple[Evidence, ...]:
        """I5: the allocator's own free list says what the ledger says.

        Args:
            free_pages: `free_pages` and `release_pages` together, in pages; outside a
                free group, or deferred pages count as held by the allocator.
        """
        listed, illegal = self._pages(free_pages, slots=False)
        event = Event(self._next - 1, "audit", where, len(listed))
        found = self._illegal("I5", Found.LISTED_ILLEGAL, illegal, event, "listed as free")
        raw = np.asarray(free_pages if isinstance(free_pages, np.ndarray) else list(free_pages))
        pages, times = np.unique(raw.astype(np.int64), return_counts=True)
        twice = pages[(times > 1) & (pages >= 1) & (pages < self.num_pages)]
        found += self._evidence(
            "I5", Found.LISTED_TWICE, twice, event, "in the free list more than once"
        )
        free = np.zeros(self.num_pages, dtype=bool)
        free[listed] = True
        mine = self.state == FREE
        mine[0] = False
        numbers = np.arange(self.num_pages)
        surplus, missing = numbers[free & ~mine], numbers[mine & ~free]
        found += self._evidence(
            "I5", Found.LISTED_AND_HELD, surplus, event, "listed as free, but it is {state}"
        )
        return found + self._evidence(
            "I5",
            Found.MISSING_FROM_FREE_LIST,
            missing,
            event,
            "freed by {freed}, but it is not in the free list",
        )

    # -- helpers ----------------------------------------------------------------------------

    def _pages(
        self, values: Pages, *, slots: bool = True, dummy_allowed: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distinct legal pages of `values`, and the illegal pages among them."""
        array = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.int64)
        pages = np.unique(array // self.page_size if slots else array)
        legal = (pages >= 1) & (pages < self.num_pages)
        illegal = ~legal & (pages != 0) if dummy_allowed else ~legal
        return pages[legal], pages[illegal]

    def _note(self, kind: str, where: str, pages: int) -> Event:
        event = Event(self._next, kind, where, pages)
        self.events.append(event)
        self._next += 1
        return event

    def _hold(self, pages: np.ndarray, owner: int, number: int) -> None:
        self.state[pages] = HELD
        self.owner[pages] = owner
        self.generation[pages] += 1
        self._allocated_at[pages] = number

    def _name(self, number: int) -> str:
        if number == 0:
            return "nobody yet"
        if self.events and self.events[0].number <= number:
            event = self.events[number - self.events[0].number]
            return f"{event.where} (event {number})"
        return f"event {number}"

    def _illegal(
        self, invariant: str, kind: Found, pages: np.ndarray, event: Event, verb: str
    ) -> tuple[Evidence, ...]:
        if not len(pages):
            return ()
        if int(pages[0]) == 0:
            kind = _OF_THE_DUMMY.get(kind, kind)
        summary = f"page {pages[0]} was {verb} by {event.where}, legal are [1, {self.num_pages})"
        return (self._record(invariant, kind, summary, pages, event),)

    def _evidence(
        self,
        invariant: str,
        kind: Found,
        pages: np.ndarray,
        event: Event,
        what: str,
        request: int | None = None,
        facts: Mapping[str, object] = _NO_FACTS,
    ) -> tuple[Evidence, ...]:
        if not len(pages):
            return ()
        page = int(pages[0])
        text = what.format(state=self._state(page), freed=self._name(int(self._freed_at[page])))
        summary = f"page {page} was {text}"
        return (self._record(invariant, kind, summary, pages, event, request, facts),)

    def _state(self, page: int) -> str:
        state = STATES[self.state[page]]
        if self.state[page] != HELD:
            return state
        owner = int(self.owner[page])
        names = {NOBODY: "nobody", TREE: "the radix tree", UNKNOWN: "a request"}
        return f"held by {names.get(owner, f'request {owner}')} since " + self._name(
            int(self._allocated_at[page])
        )

    def _record(
        self,
        invariant: str,
        kind: Found,
        summary: str,
        pages: np.ndarray,
        event: Event,
        request: int | None = None,
        facts: Mapping[str, object] = _NO_FACTS,
    ) -> Evidence:
        violations = tuple(
            Violation(
                invariant,
                f"{self.pool} pages",
                row=position,
                column=0,
                value=int(page),
                low=1,
                high=self.num_pages,
                req_pool_index=request,
                kind=kind,
            )
            for position, page in enumerate(pages[:8])
        )
        legal = pages[(pages > 0) & (pages < self.num_pages)][:8]
        known: dict[str, object] = {
            **facts,
            "event": event.number,
            "owners": self.owner[legal].tolist(),
            "states": [STATES[state] for state in self.state[legal].tolist()],
            "freed by": [self._name(number) for number in self._freed_at[legal].tolist()],
        }
        return Evidence(
            invariant,
            summary,
            event.where,
            pool=self.pool,
            total=len(pages),
            rows_affected=len(pages),
            violations=violations,
            facts=known,
            kind=kind,
        )


class RequestLedger:
    """I17 for the rows of `req_to_token`: given out once, released once.

    taken: rows that were given out before the ledger listened.
    """

    def __init__(self, taken: Iterable[int] = ()) -> None:
        self._held: dict[int, str] = dict.fromkeys(taken, "a request from before the hooks")
        self._released: dict[int, str] = {}

    def acquire(self, row: int, *, where: str) -> tuple[Evidence, ...]:
        """A request got this row."""
        found: tuple[Evidence, ...] = ()
        if row in self._held:
            text = f"given out by {where}, but {self._held[row]} holds it"
            found = (_row(row, Found.ROW_GIVEN_TWICE, text, where),)
        self._held[row] = where
        self._released.pop(row, None)
        return found

    def release(self, row: int, *, where: str) -> tuple[Evidence, ...]:
        """A request gave this row back."""
        found: tuple[Evidence, ...] = ()
        if row not in self._held:
            before = self._released.get(row, "nobody: it was never given out")
            kind = Found.ROW_RELEASED_TWICE if row in self._released else Found.ROW_NEVER_GIVEN
            found = (_row(row, kind, f"released by {where}, but it was by {before}", where),)
        self._held.pop(row, None)
        self._released[row] = where
        return found


def check_freed_while_locked(
    freed: np.ndarray, locked: np.ndarray, page_size: int, where: str
) -> Evidence | None:
    """I17: an insert frees no page of a node that a lock keeps.

    Args:
        freed, locked: full slots, integer, any order: what goes back, and what the locked
            nodes held when the insert began.
    Returns: evidence that names the pages, or None. Host arrays only.
    Source: `inc_lock_ref` of SGLang's trees: whoever holds a lock reads the node's pages.
    """
    pages, kept = (np.unique(each // page_size) for each in (freed, locked))
    taken = np.intersect1d(pages[pages > 0], kept)
    if not len(taken):
        return None
    return Evidence(
        "I17",
        f"page {taken[0]} is freed by an insert while a lock keeps its node, "
        f"{len(taken)} pages: whoever holds the lock still reads them",
        where,
        pool="full",
        total=len(taken),
        facts={"pages": taken[:8].tolist()},
        kind=Found.FREED_WHILE_LOCKED,
    )


def _row(row: int, kind: Found, text: str, where: str, total: int = 1) -> Evidence:
    return Evidence(
        "I17",
        f"row {row} of req_to_token was {text}",
        where,
        total=total,
        rows_affected=total,
        facts={"row": row},
        kind=kind,
    )
