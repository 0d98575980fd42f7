"""Whose hand: for each page of a pool, who allocated, mapped, freed and inserted it last.

The failure: "page 371, expected 265" says that two owners met and not which. The rule: every
event at an allocator leaves the step, the caller's chain of calls and the requests it acted
for; an error asks for the pages that it names.

What is kept of a page, whatever its age, is the newest event of each kind: the step and the
caller, 40 bytes on the pool's device. Beside it the newest events whole, with their
requests: 20 bytes a page, or the newest 16 events.

Cost of an event: one launch (the pages of its slots), no sync; every `PENDING` events some
ten more launches. Not to be called under a capture. An error waits for the device.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from triage.evidence import PageEvent, PageHistory
from triage.sglang.allocator.call_sites import Caller, CallSites

KINDS = ("allocated", "mapped", "SWA side freed", "freed", "inserted into the tree")
ALLOCATED, MAPPED, SWA_FREED, FREED, INSERTED = range(5)

PENDING = 64
RECENT = 4096  # events kept whole, if their slots are few
SLOTS_A_PAGE = 5  # of the recent events, four bytes each
AT_LEAST = 16  # events that are kept whole whatever their size
EVENTS_SHOWN = 8
"""Events of one page that an error and its dump hold."""

_SITE_BITS, _INDEX_BITS = 15, 20  # below the step: newer is larger
_SITES = (1 << _SITE_BITS) - 1


@dataclass(frozen=True, slots=True)
class _Event:
    kind: int
    mark: int
    pages: Tensor  # int32, the page of each slot in order
    requests: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()  # slots of each request; empty where it is not known


class PageRecorder:
    """The pages of one pool.

    Args:
        num_pages: the dummy page included.
        sites: where the callers of `note` were numbered.
    """

    def __init__(self, num_pages: int, page_size: int, device: Any, sites: CallSites) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self.sites = sites
        self._newest = torch.zeros(len(KINDS) * num_pages, dtype=torch.int64, device=device)
        self._pending: list[_Event] = []
        self._recent: deque[_Event] = deque()
        self._named = 0  # slots of the recent events
        self._step = self._index = 0

    def note(self, kind: int, slots: Tensor, step: int, caller: Caller) -> None:
        """`slots`, any shape, were moved at `step`. They are copied: a caller may pass a view."""
        slots = slots.reshape(-1)
        pages = torch.empty(len(slots), dtype=torch.int32, device=slots.device)
        torch.div(slots, self.page_size, rounding_mode="floor", out=pages)
        if step != self._step:
            self._step, self._index = step, 0
        self._index = min(self._index + 1, (1 << _INDEX_BITS) - 1)
        mark = ((step << _INDEX_BITS) | self._index) << _SITE_BITS | caller.site
        requests, counts = _requests(caller, len(pages))
        event = _Event(kind, mark, pages, requests, counts)
        self._pending.append(event)
        self._recent.append(event)
        self._named += len(pages)
        most = SLOTS_A_PAGE * self.num_pages
        while len(self._recent) > AT_LEAST and (self._named > most or len(self._recent) > RECENT):
            self._named -= len(self._recent.popleft().pages)
        if len(self._pending) >= PENDING:
            self._write()

    @property
    def bytes_held(self) -> int:
        """Memory on the pool's device, not counting what a caller's chain takes on the host."""
        recent = sum(event.pages.nbytes for event in self._recent)
        return int(self._newest.nbytes + recent)

    def of(self, pool: str, pages: list[int]) -> tuple[PageHistory, ...]:
        """What is known of these pages, newest event first. Waits for the device."""
        if self._newest.is_cuda:
            torch.cuda.synchronize(self._newest.device)
        self._write()
        newest = self._newest.view(len(KINDS), -1).cpu()
        recent = self._recent_of(set(pages))
        return tuple(
            PageHistory(pool, page, self._events(page, newest, recent.get(page, {})))
            for page in dict.fromkeys(pages)
            if 0 < page < self.num_pages
        )

    # -- helpers ----------------------------------------------------------------------------

    def _events(
        self, page: int, newest: Tensor, recent: dict[int, tuple[int, str]]
    ) -> tuple[PageEvent, ...]:
        known = {mark: (kind, request) for mark, (kind, request) in recent.items()}
        for kind in range(len(KINDS)):
            mark = int(newest[kind, page])
            if mark:
                known.setdefault(mark, (kind, ""))
        events: list[tuple[int, int, str]] = []
        for mark, (kind, request) in sorted(known.items(), reverse=True):
            same = events and kind == ALLOCATED and _alike(events[-1], (mark, kind, request))
            if same:
                events.pop()  # the page was gone on with: its first allocation is what counts
            events.append((mark, kind, request))
        return tuple(
            PageEvent(
                KINDS[kind],
                mark >> (_SITE_BITS + _INDEX_BITS),
                self.sites.frames(mark & _SITES),
                request,
            )
            for mark, kind, request in events[:EVENTS_SHOWN]
        )

    def _recent_of(self, wanted: set[int]) -> dict[int, dict[int, tuple[int, str]]]:
        """Page -> mark -> (kind, request), of the events that are still whole. One host read."""
        found: dict[int, dict[int, tuple[int, str]]] = {}
        events = [event for event in self._recent if len(event.pages)]
        if not events:
            return found
        device = self._newest.device
        flat = torch.cat([event.pages.to(device) for event in events]).cpu().long()
        sizes = torch.tensor([len(event.pages) for event in events])
        starts = sizes.cumsum(0) - sizes
        spots = torch.isin(flat, torch.tensor(sorted(wanted))).nonzero()[:, 0]
        owners = torch.searchsorted(starts, spots, right=True) - 1
        for spot, owner in zip(spots.tolist(), owners.tolist(), strict=True):
            event = events[owner]
            request = _request_at(event, spot - int(starts[owner]))
            marks = found.setdefault(int(flat[spot]), {})
            marks.setdefault(event.mark, (event.kind, request))
        return found

    def _write(self) -> None:
        """Bring the events that wait into the pages' newest marks. No sync."""
        events = [event for event in self._pending if len(event.pages)]
        self._pending = []
        if not events:
            return
        device, sizes = self._newest.device, [len(event.pages) for event in events]
        columns = torch.tensor(
            [
                [event.mark for event in events],
                [event.kind * self.num_pages for event in events],
                list(accumulate(sizes)),
            ],
            dtype=torch.int64,
        )
        if self._newest.is_cuda:
            columns = columns.pin_memory().to(device, non_blocking=True)
        marks, bases, ends = columns.unbind()
        event = torch.searchsorted(ends, torch.arange(sum(sizes), device=device), right=True)
        pages = torch.cat([each.pages.to(device, non_blocking=True) for each in events]).long()
        legal = (pages > 0) & (pages < self.num_pages)
        at = torch.where(legal, pages + bases[event], 0)
        self._newest.scatter_reduce_(0, at, marks[event], "amax")


def _requests(caller: Caller, slots: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Ids of the requests that the caller acts for, and how many of the slots are of each."""
    if caller.request is not None:
        rid = getattr(caller.request, "rid", None)
        return ((str(rid),), (slots,)) if rid is not None else ((), ())
    requests = getattr(caller.batch, "reqs", None)
    if not requests:
        return (), ()
    ids = tuple([str(getattr(each, "rid", "")) for each in requests])
    if len(ids) == 1:
        return ids, (slots,)
    if len(ids) == slots:
        return ids, (1,) * slots
    lengths = getattr(caller.batch, "extend_lens", None) or ()
    if len(lengths) == len(ids) and sum(lengths) == slots:
        return ids, tuple(lengths)
    return ids, ()


def _alike(newer: tuple[int, int, str], older: tuple[int, int, str]) -> bool:
    """Of one kind, by one caller, for one request."""
    return newer[1:] == older[1:] and newer[0] & _SITES == older[0] & _SITES


def _request_at(event: _Event, position: int) -> str:
    """The request that the event's slot at this position was for; empty if it is not known."""
    for rid, count in zip(event.requests, event.counts, strict=False):
        if position < count:
            return rid
        position -= count
    return ""
