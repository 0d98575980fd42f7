"""The ledger of pages that never waits: what moved is read from SGLang's own lists, later.

The failure is that of `ledger_hooks.py`: a page is freed twice, so that two requests get it.
That ledger reads the slots of each call at once, which waits for the device, so it is off
unless asked for. The rule here: every call leaves the allocator's lists of free pages longer
or shorter, and those lists are tensors that SGLang never writes in place. What a call took
off a list or put there is kept by reference, as a view; some calls later all of them go to
the host in one asynchronous copy, and are judged once it is there.

So a finding comes some steps after the call that it is about, which it names. It sees pages
that are freed while they are free, and ids that the pool does not have; not use after free,
leaks and the mapping, nor slots that a kernel hands out beside the list. Where lists have
changed between two calls that it heard, it believes SGLang's lists and goes on from them.

Cost of a call: integers of the host; of a batch: two launches and an event
(`bench/late_ledger_cost.py`). Not to be called under a capture. Not covered: as
`ledger_hooks.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from triage.device.late_copies import LateCopies
from triage.evidence import Evidence
from triage.invariants.ledger import PageLedger
from triage.invariants.page_moves import FREED, HANDED_OUT, LISTED, Move, judge

Report = Callable[[Evidence], None]
"""Takes one finding, and normally raises."""
Lists = tuple[Tensor, ...]

CALLS = 8
"""Calls that moved pages, of all pools together, that go to the host together."""
PATIENCE = 32
"""Allocations after which what waits goes to the host all the same."""
BEHIND = 1 << 10
"""Calls that may wait for a copy to get through; beyond, the ledgers begin anew."""

_NOTED = "_sglang_triage_late_pages"


class _Pool:
    """One allocator of SGLang's: its pages as told, and its lists as the last call left them."""

    def __init__(self, sub: Any, life: object) -> None:
        self.life = life
        self.sub = ref(sub)
        page = int(sub.page_size)
        self.ledger = PageLedger("pool", int(sub.size) // page + 1, page)
        self.lists: Lists = ()
        self.under_way = False


@dataclass(slots=True)
class _Call:
    """A call that moved pages; the ids are still on the device."""

    pool: _Pool
    kind: int
    where: str
    step: int
    ids: Lists


class LateLedger:
    """The ledgers of a process.

    Args:
        report: gets every finding.
        step: the number of the newest step.
        name: of an allocator, for messages: "full", "swa", or "pool".
    """

    def __init__(self, report: Report, step: Callable[[], int], name: Callable[[Any], str]) -> None:
        self.report = report
        self.step = step
        self.name = name
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.judged = 0  # calls
        self.followed = 0  # lists that had changed unseen
        self.forget()

    def forget(self) -> None:
        """Something moved unseen: the ledgers are made anew from SGLang's lists."""
        self._life = object()
        self._waiting: list[_Call] = []
        self._patience = 0
        self._stream: Any = None
        self._copies: LateCopies[list[_Call]] | None = None

    # -- around the methods of an allocator of one pool -----------------------------------------

    def around_alloc(self, original: Any, sub: Any, *args: Any, **kwargs: Any) -> Any:
        """Judge what has arrived; then note what this call takes off the list."""
        self.look()
        if self._waiting:
            self._patience -= 1
            if self._patience <= 0:
                self._send()
        return self._around(original, sub, args, kwargs)

    def around_free(self, original: Any, sub: Any, *args: Any, **kwargs: Any) -> Any:
        """Note what this call puts on a list; while a group is open that is nothing."""
        return self._around(original, sub, args, kwargs)

    def around_reset(self, original: Any, sub: Any, *args: Any, **kwargs: Any) -> Any:
        """`clear` and `restore_state`: SGLang's lists are what they are."""
        result = original(sub, *args, **kwargs)
        pool = getattr(sub, _NOTED, None)
        lists = lists_of(sub)
        if pool is not None and pool.life is self._life and lists is not None:
            if pool.ledger.num_pages != int(sub.size) // int(sub.page_size) + 1:
                setattr(sub, _NOTED, None)
            else:
                pool.lists = lists
                self._note(pool, LISTED, original.__name__, lists)
        return result

    def _around(self, original: Any, sub: Any, args: Any, kwargs: Any) -> Any:
        pool = sub.__dict__.get(_NOTED)
        if pool is not None and pool.under_way:
            return original(sub, *args, **kwargs)
        before = lists_of(sub)
        if before is None:  # before its first `clear`
            return original(sub, *args, **kwargs)
        if pool is None or pool.life is not self._life:
            pool = self._open(sub, before)
        elif not _same(pool.lists, before):
            self.followed += 1
            self._note(pool, LISTED, "a change of the free list that was not seen", before)
        pool.lists = ()  # where the call raises, the next one finds them changed unseen
        pool.under_way = True
        try:
            result = original(sub, *args, **kwargs)
        finally:
            pool.under_way = False
        pool.lists = after = lists_of(sub) or ()
        if not _same(before, after):
            kind, ids = _moved(before, after, at_the_end=pool.ledger.page_size == 1)
            if ids:
                self._note(pool, kind, original.__name__, ids)
        return result

    # -- on the way, and what it says ------------------------------------------------------------

    def look(self) -> None:
        """Judge the calls whose ids have arrived; an event query where some are on their way."""
        if self._copies is None or not self._copies.waiting:
            return
        for calls, ids in self._copies.arrived():
            self._judge(calls, ids)

    def send_all(self) -> None:
        """Have what waits go to the host now, however little it is. Does not wait."""
        if self._waiting:
            self._send()

    def _open(self, sub: Any, lists: Lists) -> _Pool:
        pool = _Pool(sub, self._life)
        setattr(sub, _NOTED, pool)
        self._note(pool, LISTED, "before the hooks", lists)
        return pool

    def _note(self, pool: _Pool, kind: int, where: str, ids: Lists) -> None:
        if kind != LISTED and not any(map(len, ids)):
            return
        if self._copies is None:
            self._copies = LateCopies(ids[0].device)
        if self._copies.on_cuda:
            stream = torch.cuda.current_stream(ids[0].device)
            if self._waiting and stream != self._stream:
                self._send()
            self._stream = stream
        if not self._waiting:
            self._patience = PATIENCE
        self._waiting.append(_Call(pool, kind, where, self.step(), ids))
        if len(self._waiting) >= CALLS:
            self._send()

    def _send(self) -> None:
        """One copy for all that wait, behind the calls of their stream."""
        copies = self._copies
        if copies is None or copies.full:
            if len(self._waiting) > BEHIND:
                self.forget()
            return
        calls, self._waiting = self._waiting, []
        ids = [each for call in calls for each in call.ids]
        if self._stream is None:
            copies.send(ids, calls)
        else:
            with torch.cuda.stream(self._stream):
                copies.send(ids, calls)

    def _judge(self, calls: list[_Call], ids: Any) -> None:
        moves: dict[_Pool, list[tuple[_Call, Move]]] = {}
        at = 0
        for call in calls:
            count = sum(map(len, call.ids))
            pages = ids[at : at + count]
            at += count
            moves.setdefault(call.pool, []).append((call, Move(call.kind, call.where, pages)))
        self.judged += len(calls)
        for pool, told in moves.items():
            sub = pool.sub()
            if sub is None or pool.life is not self._life:
                continue
            pool.ledger.pool = self.name(sub)
            for evidence in judge(pool.ledger, [move for _, move in told]):
                self.report(_with_step(evidence, [call for call, _ in told], self.step()))


def _with_step(evidence: Evidence, calls: list[_Call], now: int) -> Evidence:
    """`evidence` with the step of the call that it is about, as far as its name tells it."""
    steps = sorted({call.step for call in calls if call.where == evidence.where})
    return replace(evidence, facts={**evidence.facts, "steps": steps, "told in step": now})


def lists_of(sub: Any) -> Lists | None:
    """The tensors of free pages of an allocator, the one that is handed out from first.

    None before its first `clear`. Up to 0.5.18 there are two; from 0.5.23 on a paged one
    stages what was freed as a list of tensors.
    """
    free = sub.free_pages
    if free is None:
        return None
    staged = sub.__dict__.get("staged_pages")
    if staged is not None:
        return (free, *staged)
    released = sub.release_pages
    return (free,) if released is None else (free, released)


def _same(one: Lists, other: Lists) -> bool:
    """Are they the very same tensors?"""
    return len(one) == len(other) and all(map(_is, one, other))


def _is(one: Tensor, other: Tensor) -> bool:
    return one is other


def _moved(before: Lists, after: Lists, *, at_the_end: bool) -> tuple[int, Lists]:
    """What was taken off or put on, as views; all that is listed where that cannot be told.

    Nothing where there are as many as before: no method both takes off and puts on.

    at_the_end: an allocator by token puts what is freed behind the list, a paged one before it.
    """
    count = sum(map(len, after)) - sum(map(len, before))
    if count == 0:  # cut at 0, or put together and sorted
        return LISTED, ()
    if count < 0:
        free, taken = after[0], -count
        merged = any(map(len, before[1:])) and not any(map(len, after[1:]))
        start = free.storage_offset() - taken
        follows = start >= 0 and free.is_contiguous()
        if not merged:
            follows = follows and free.data_ptr() == before[0].data_ptr() + taken * free.itemsize
        if follows:
            return HANDED_OUT, (torch.as_strided(free, (taken,), (1,), start),)
        return LISTED, after
    if count > 0 and len(after) >= len(before):
        grown = [
            (new, len(new) - len(old))
            for old, new in zip(before, after, strict=False)
            if new is not old
        ]
        if not grown:  # staged
            return FREED, after[len(before) :]
        if len(grown) == 1 and len(after) == len(before) and grown[0][1] == count:
            new = grown[0][0]
            return FREED, (new[-count:] if at_the_end else new[:count],)
    return LISTED, after
