"""Whose hand: for each page of a pool, who allocated, mapped, freed and inserted it last.

The failure: "page 371, expected 265" says that two owners met and not which. The rule: every
event at an allocator leaves the step, the caller's chain of calls and the requests it acted
for; an error asks for the pages that it names.

Of an event the host keeps a record of 25 bytes, of the newest `num_pages / 8` events; which
pages it had stands where the pool's slots are (`page_log.py`, `page_device_log.py`). On a device
an event costs one launch, no sync; an error waits for it. Not to be called under a capture.

Bounded in all by 64 bytes a page, besides one tuple of the requests' ids a batch.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.evidence import PageEvent, PageHistory
from triage.sglang.allocator.call_sites import Caller, CallSites
from triage.sglang.allocator.page_device_log import DeviceLog
from triage.sglang.allocator.page_log import HostLog, Noted

KINDS = ("allocated", "mapped", "SWA side freed", "freed", "inserted into the tree")
ALLOCATED, MAPPED, SWA_FREED, FREED, INSERTED = range(5)

EVENTS_SHOWN = 8
"""Events of one page that an error and its dump hold."""

_SITE_BITS, _INDEX_BITS = 15, 18  # below the step, of 62 bits in all: newer is larger
_SITES = (1 << _SITE_BITS) - 1

_Told = tuple[int, int, str | None]
"""Mark, kind and request, None where only the mark is left of an event."""


class _Records:
    """The newest events of one pool, by their number: no page, a few bytes each."""

    def __init__(self, num_pages: int) -> None:
        self.kept = min(max(num_pages // 8, 128), 4096)
        self.marks = array("q", bytes(8 * self.kept))
        self.kinds = bytearray(self.kept)
        self.requests: list[tuple[str, ...]] = [()] * self.kept
        self.counts: list[tuple[int, ...]] = [()] * self.kept
        self.number = 0  # of events ever noted

    def add(self, kind: int, mark: int, ids: tuple[str, ...], counts: tuple[int, ...]) -> int:
        """The event's number."""
        number = self.number
        at = number % self.kept
        self.marks[at], self.kinds[at] = mark, kind
        self.requests[at], self.counts[at] = ids, counts
        self.number = number + 1
        return number

    def of(self, number: int, position: int) -> tuple[int, int, str] | None:
        """Mark, kind, and the request that slot `position` was for; None if it is not kept."""
        if not self.number - self.kept <= number < self.number:
            return None
        at = number % self.kept
        request = _request_at(self.requests[at], self.counts[at], position)
        return self.marks[at], self.kinds[at], request

    @property
    def nbytes(self) -> int:
        held = (self.marks, self.kinds, self.requests, self.counts)
        return sum(sys.getsizeof(each) for each in held)


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
        self.log: HostLog | DeviceLog
        if is_host(device):
            self.log = HostLog(len(KINDS), num_pages, page_size)
        else:
            self.log = DeviceLog(len(KINDS), num_pages, page_size, device)
        self._records = _Records(num_pages)
        self._ids: tuple[str, ...] = ()
        self._step = self._index = 0

    def note(self, kind: int, slots: Tensor, step: int, caller: Caller) -> None:
        """`slots`, any shape, were moved at `step`. They are copied: a caller may pass a view."""
        if slots.dim() != 1:
            slots = slots.reshape(-1)
        self.log.add(self.event(kind, slots.shape[0], step, caller), slots)

    def event(self, kind: int, count: int, step: int, caller: Caller) -> Noted:
        """What the log is told of an event of `count` slots; its record is kept."""
        if step != self._step:
            self._step, self._index = step, 0
        if self._index < (1 << _INDEX_BITS) - 1:
            self._index += 1
        mark = ((step << _INDEX_BITS) | self._index) << _SITE_BITS | caller.site
        ids, counts = caller.requests(count)
        if ids == self._ids:
            ids = self._ids  # a batch's ids are one tuple as long as they are the same
        else:
            self._ids = ids
        number = self._records.add(kind, mark, ids, counts)
        key = None
        if kind == ALLOCATED and counts and len(counts) == count:
            key = caller.site, ids, count
        return Noted(number, kind, mark, len(counts) > 1, key)

    @property
    def bytes_held(self) -> int:
        """On the pool's device and on the host, but for chains of calls and requests' ids."""
        return self.log.nbytes + self._records.nbytes

    def of(self, pool: str, pages: list[int]) -> tuple[PageHistory, ...]:
        """What is known of these pages, newest event first. Waits for the device."""
        newest, recent = self.log.newest(), self._recent_of(set(pages))
        return tuple(
            PageHistory(pool, page, self._events(page, newest, recent.get(page, {})))
            for page in dict.fromkeys(pages)
            if 0 < page < self.num_pages
        )

    # -- helpers ----------------------------------------------------------------------------

    def _events(
        self, page: int, newest: np.ndarray, recent: dict[int, tuple[int, str]]
    ) -> tuple[PageEvent, ...]:
        known: dict[int, tuple[int, str | None]] = dict(recent)
        for kind in range(len(KINDS)):
            mark = int(newest[kind, page])
            if mark:
                known.setdefault(mark, (kind, None))
        events: list[_Told] = []
        for mark, (kind, request) in sorted(known.items(), reverse=True):
            if events and kind == ALLOCATED and _goes_on(events[-1], (mark, kind, request)):
                events.pop()  # the page was gone on with: its first allocation is what counts
            events.append((mark, kind, request))
        return tuple(
            PageEvent(
                KINDS[kind],
                mark >> (_SITE_BITS + _INDEX_BITS),
                self.sites.frames(mark & _SITES),
                request or "",
            )
            for mark, kind, request in events[:EVENTS_SHOWN]
        )

    def _recent_of(self, wanted: set[int]) -> dict[int, dict[int, tuple[int, str]]]:
        """Page -> mark -> (kind, request), of the events whose records are kept."""
        found: dict[int, dict[int, tuple[int, str]]] = {}
        for page, position, number in self.log.entries(wanted, self._records.number):
            known = self._records.of(number, position)
            if known is not None:
                mark, kind, request = known
                marks = found.setdefault(page, {})
                if mark not in marks or not marks[mark][1]:
                    marks[mark] = (kind, request)
        return found


Moved = tuple[PageRecorder, int, Tensor]
"""Slots of a pool that one call moved, and the kind of the event."""


def write(moved: Sequence[Moved], step: int, caller: Caller) -> None:
    """The events of one call, as `PageRecorder.note`: in two pools of a device they are one launch.

    Args:
        moved: in order.
    """
    if len(moved) == 2:
        (pool, kind, slots), (other, others, also) = moved
        log, beside = pool.log, other.log
        if log is not beside and isinstance(log, DeviceLog) and isinstance(beside, DeviceLog):
            slots = slots if slots.dim() == 1 else slots.reshape(-1)
            also = also if also.dim() == 1 else also.reshape(-1)
            log.add_with(
                pool.event(kind, slots.shape[0], step, caller),
                slots,
                beside,
                other.event(others, also.shape[0], step, caller),
                also,
            )
            return
    for recorder, kind, slots in moved:
        recorder.note(kind, slots, step, caller)


def is_host(device: Any) -> bool:
    """Is what lies there read without a wait?"""
    return torch.device(device).type == "cpu"


def _goes_on(newer: _Told, older: _Told) -> bool:
    """Of one kind, by one caller, for one request.

    Where a mark stands alone before an event that the log still has, the log left the newer one
    out: it was for the same request.
    """
    same = newer[2] is None or newer[2] == older[2]
    return same and newer[1] == older[1] and newer[0] & _SITES == older[0] & _SITES


def _request_at(requests: tuple[str, ...], counts: tuple[int, ...], position: int) -> str:
    """The request that the event's slot at this position was for; empty if it is not known."""
    if len(requests) == 1:
        return str(requests[0]) if counts else ""
    if position < 0:
        return ""
    for rid, count in zip(requests, counts, strict=False):
        if position < count:
            return str(rid)
        position -= count
    return ""
