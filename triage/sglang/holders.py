"""Which request holds which row of `req_to_token`: asked only once something is wrong.

The failure: a finding names row 3, and nobody can tell which request that was. SGLang's host
objects know: a batch lists its requests, and a request its row and its id. Nothing is kept from
step to step but a weak reference to the scheduler; no device is asked.

A batch whose result is judged tells its own launch. Where there is none (the allocator, a
crash) the scheduler's batches of that moment tell it, and a row that two of them give to
different requests is left out.

Source: SGLang 0.5.12.post1 to 0.5.23, `Scheduler.cur_batch`, `last_batch`, `running_batch`
and, under overlap, `result_queue` of (batch, result); `Req.rid`; `Req.req_pool_idx`, from
0.5.23 `Req.kv.req_pool_idx`; `ForwardBatch.rids`, one of each request, none of padding.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

BATCHES = ("cur_batch", "last_batch", "running_batch")
CHUNKED = ("chunked_req",)
"""A request between two chunks: it may be in no batch, and up to 0.5.14 has no row then."""


def row_of(request: Any) -> int | None:
    """The row that a request holds now; None if it holds none. Host work only."""
    row = getattr(getattr(request, "kv", None), "req_pool_idx", None)
    row = getattr(request, "req_pool_idx", None) if row is None else row
    return None if row is None else int(row)


_ON_RECORD, _ON_REQUEST = attrgetter("kv.req_pool_idx"), attrgetter("req_pool_idx")


def rows_of(requests: Sequence[Any]) -> list[int | None]:
    """`row_of` each, in one pass: all have their row on the record, or none has."""
    for place in (_ON_RECORD, _ON_REQUEST):
        try:
            rows = list(map(place, requests))
        except AttributeError:  # another place, or one request is another than the others
            continue
        if place is _ON_REQUEST or None not in rows:
            return rows
        break
    return [row_of(request) for request in requests]


def recorded_by(request: Any, name: str) -> int | None:
    """A number of the request or, in newer releases, of its KV record; None if nowhere."""
    record = getattr(request, "kv", None)
    for holder in (record, request):
        value = getattr(holder, name, None)
        if isinstance(value, int):
            return value
    return None


def kept_by(request: Any, name: str) -> int:
    """As `recorded_by`, 0 if nowhere: of a request that has nothing yet."""
    return recorded_by(request, name) or 0


def rids_of_forward(forward_batch: Any, rows: int) -> tuple[str, ...]:
    """The ids of a forward batch, one per row, "" for padding; empty where it has none."""
    rids = getattr(forward_batch, "rids", None)
    if not rids or len(rids) > rows:
        return ()
    return (*map(str, rids), *[""] * (rows - len(rids)))


class Holders:
    """Of one process. `note` is all that a step costs."""

    def __init__(self) -> None:
        self._scheduler: Callable[[], Any] | None = None

    def note(self, scheduler: Any) -> None:
        """The scheduler of this process; the newest where there were several."""
        try:
            self._scheduler = weakref.ref(scheduler)
        except TypeError:  # of a class that takes no weak reference
            self._scheduler = lambda: scheduler

    def restart(self) -> None:
        self._scheduler = None

    def rows(self, batch: Any = None) -> dict[int, str]:
        """Row -> id: of `batch` if it is given, else of all that the scheduler has at hand."""
        found: dict[int, str] = {}
        disputed = set()
        for each in (batch,) if batch is not None else self._batches():
            for request in list(getattr(each, "reqs", None) or ()):
                row, rid = row_of(request), str(getattr(request, "rid", ""))
                ended = batch is None and getattr(request, "finished_reason", None) is not None
                if row is None or ended:  # its row may be another's by now
                    continue
                if found.setdefault(row, rid) != rid:
                    disputed.add(row)
        return {row: rid for row, rid in found.items() if row not in disputed}

    @property
    def scheduler(self) -> Any:
        """The scheduler of this process; None before it was seen."""
        return None if self._scheduler is None else self._scheduler()

    def requests(self, batch: Any = None) -> list[Any]:
        """Every request that has a row or goes on in chunks, once each; those of `batch` too.

        Those that ended are left out by their row, which they have given back. Host work only.
        """
        scheduler = self.scheduler
        chunked = [getattr(scheduler, name, None) for name in CHUNKED]
        found = {id(each): each for each in chunked if each is not None}
        batches = {id(each): each for each in (batch, *self._batches())}  # often one and the same
        for each in batches.values():
            requests = list(getattr(each, "reqs", None) or ())
            rows = rows_of(requests)
            if None in rows:
                requests = [req for req, row in zip(requests, rows, strict=True) if row is not None]
            found.update(zip(map(id, requests), requests, strict=True))
        return list(found.values())

    def _batches(self) -> Iterator[Any]:
        scheduler = self.scheduler
        if scheduler is None:
            return
        for name in BATCHES:
            yield getattr(scheduler, name, None)
        for queued in list(getattr(scheduler, "result_queue", None) or ()):
            if isinstance(queued, tuple) and queued:
                yield queued[0]
