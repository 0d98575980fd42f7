"""What is kept of the pages of one pool's events: marks and a log.

newest    of each kind, for each page, the mark of its newest event (step, order, caller):
          40 bytes a page, kept whatever its age
log       a ring of (page, position in the event, event), 15 bytes a page: the newest events
          whole. Slots that follow each other in a page are one entry; a decode step that goes on
          in the page of the step before, for the same requests and by the same caller, is none.

`HostLog` is that of a pool whose slots lie on the host: an event becomes pages at once, and
some of them are written together. `page_device_log.py` has the other, on the pool's device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor

LOG_BYTES_A_PAGE = 15
AT_LEAST = 512
"""Entries of the log, however small the pool."""

PENDING, PENDING_BYTES_A_PAGE = 32, 3
"""Events on the host that may wait to be written, and what they may hold."""

NUMBER_BITS, POSITION_BITS = 22, 14  # below the page
NUMBERS, POSITIONS = (1 << NUMBER_BITS) - 1, (1 << POSITION_BITS) - 1
ERA = 1 << (NUMBER_BITS - 1)
"""Events after which the log begins anew: numbers are kept without their higher bits."""


class Noted(NamedTuple):
    """An event at an allocator.

    shared: is it of several requests, so that the position of a slot says whose it is?
    key: equal for two decode steps of one caller with the same requests, a slot each, in the
        same order; None for every other event.
    """

    number: int
    kind: int
    mark: int
    shared: bool
    key: tuple[int, tuple[str, ...], int] | None


def entries_of(num_pages: int) -> int:
    """How many entries the log of that many pages has."""
    return max(num_pages * LOG_BYTES_A_PAGE // 8, AT_LEAST)


def unpacked(log: np.ndarray, wanted: set[int], events: int) -> Iterator[tuple[int, int, int]]:
    """(page, position, event) of the wanted pages' entries; `events` were noted in all.

    position: -1 where the event had so many slots that it was not kept.
    """
    log = log[np.isin(log >> (NUMBER_BITS + POSITION_BITS), list(wanted)) & (log != 0)]
    for entry in log.tolist():
        number = events - 1 - ((events - 1 - entry) & NUMBERS)
        position = (entry >> NUMBER_BITS) & POSITIONS
        position = -1 if position == POSITIONS else position
        yield entry >> (NUMBER_BITS + POSITION_BITS), position, number


class HostLog:
    """The marks and the log of `num_pages` on the host, the dummy page included."""

    def __init__(self, kinds: int, num_pages: int, page_size: int) -> None:
        self.num_pages, self.page_size = num_pages, page_size
        self.capacity = entries_of(num_pages)
        # One page more, for ids that are of no page.
        self._newest = np.zeros((kinds, num_pages + 1), dtype=np.int64)
        self._log = np.zeros(self.capacity, dtype=np.int64)
        self._next = self._era = 0
        self._before: tuple[object, np.ndarray] | None = None  # the decode step before: key, pages
        self._pending: list[tuple[Noted, np.ndarray, np.ndarray | None]] = []
        self._waiting, self._most = 0, num_pages * PENDING_BYTES_A_PAGE

    @property
    def nbytes(self) -> int:
        return self._newest.nbytes + self._log.nbytes + self._waiting

    def add(self, event: Noted, slots: Tensor) -> None:
        """`slots`, `(n,)`, were moved. Three passes over them in numpy; now and then `_write`."""
        held = slots.numpy()
        shift = self.page_size.bit_length() - 1
        pages = held >> shift if self.page_size == 1 << shift else held // self.page_size
        first = np.empty(len(pages), dtype=bool)
        first[:1] = True
        np.not_equal(pages[1:], pages[:-1], out=first[1:])
        starts = first.nonzero()[0]
        pages = pages[starts]
        self._waiting += pages.nbytes
        if event.shared:
            self._waiting += starts.nbytes
            self._pending.append((event, pages, starts))
        else:
            self._pending.append((event, pages, None))
        if self._waiting > self._most or len(self._pending) >= PENDING:
            self._write()

    def newest(self) -> np.ndarray:
        """`(kinds, num_pages)` int64, 0 for none."""
        self._write()
        return self._newest

    def entries(self, wanted: set[int], events: int) -> Iterator[tuple[int, int, int]]:
        """See `unpacked`."""
        self._write()
        return unpacked(self._log, wanted, events)

    def _write(self) -> None:
        """Bring what waits, in order, into marks and log: six passes over the pages of each."""
        events, self._pending, self._waiting = self._pending, [], 0
        for event, pages, starts in events:
            self._write_one(event, pages, starts)

    def _write_one(self, event: Noted, pages: np.ndarray, starts: np.ndarray | None) -> None:
        """pages: of each run of slots in one page, as the ids say. starts: where each begins,
        of a shared event."""
        # As unsigned numbers, negative ids lie beyond the pool too.
        pages = pages.astype(np.int64, copy=False).view(np.uint64)
        pages = np.minimum(pages, self.num_pages).view(np.int64)
        self._newest[event.kind].put(pages, event.mark)
        if event.number // ERA != self._era:
            self._era = event.number // ERA
            self._log[:] = 0
        key = event.key
        if key is not None and len(pages) == key[2]:
            before, self._before = self._before, (key, pages)
            if before is not None and before[0] == key:
                moved = pages != before[1]
                pages = pages[moved]
                starts = None if starts is None else starts[moved]
        entries = pages << (POSITION_BITS + NUMBER_BITS)
        entries += event.number & NUMBERS
        if starts is not None:
            entries += np.minimum(starts, POSITIONS) << NUMBER_BITS
        self._append(entries)

    def _append(self, entries: np.ndarray) -> None:
        end = self._next + len(entries)
        if end <= self.capacity:
            self._log[self._next : end] = entries
        else:
            entries = entries[-self.capacity :]
            end = self._next + len(entries)
            self._log[(self._next + np.arange(len(entries))) % self.capacity] = entries
        self._next = end % self.capacity
