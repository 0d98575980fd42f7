"""`page_log.py` on a device: an event costs one launch there, and nothing waits for it.

Events wait until `PENDING` of them have come, or as many slots as half the pool has pages, and
are written together by some forty launches. How many entries of the log they make is known to
the device alone, so the place of the newest lies there too, and every shape is one that the host
knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.sglang.allocator import page_log
from triage.sglang.allocator.page_log import (
    NUMBER_BITS,
    NUMBERS,
    POSITION_BITS,
    POSITIONS,
    Noted,
    entries_of,
    unpacked,
)

PENDING = 64


@dataclass(slots=True, eq=False)
class _Pending:
    """An event whose `pages`, `(size,)` int32, one of each slot, wait to be written."""

    event: Noted
    pages: Tensor
    size: int


class DeviceLog:
    """The marks and the log of `num_pages` on `device`, the dummy page included."""

    def __init__(self, kinds: int, num_pages: int, page_size: int, device: Any) -> None:
        self.num_pages, self.page_size = num_pages, page_size
        self.capacity = entries_of(num_pages)
        self._newest = torch.zeros(kinds * num_pages, dtype=torch.int64, device=device)
        # One entry more, for what is not to be kept.
        self._log = torch.zeros(self.capacity + 1, dtype=torch.int64, device=device)
        self._last = torch.zeros((), dtype=torch.int64, device=device)  # place of the newest entry
        self._kinds = kinds
        self._era = 0
        self._pending: list[_Pending] = []
        self._slots, self._most = 0, max(num_pages // 2, 1)

    @property
    def nbytes(self) -> int:
        waiting = sum(each.pages.nbytes for each in self._pending)
        return int(self._newest.nbytes + self._log.nbytes) + waiting

    def add(self, event: Noted, slots: Tensor) -> None:
        """`slots`, `(n,)`, were moved. One launch, no sync; now and then `_write`."""
        size = slots.shape[0]
        pages = torch.empty(size, dtype=torch.int32, device=slots.device)
        torch.div(slots, self.page_size, rounding_mode="floor", out=pages)
        if size:
            self._pending.append(_Pending(event, pages, size))
            self._slots += size
            if len(self._pending) >= PENDING or self._slots > self._most:
                self._write()

    def newest(self) -> np.ndarray:
        """`(kinds, num_pages)` int64, 0 for none. Waits for everything on the device."""
        if self._newest.is_cuda:
            torch.cuda.synchronize(self._newest.device)
        self._write()
        return self._newest.view(self._kinds, -1).cpu().numpy()

    def entries(self, wanted: set[int], events: int) -> Iterator[tuple[int, int, int]]:
        """See `unpacked`. Waits for the device."""
        self._write()
        return unpacked(self._log[:-1].cpu().numpy(), wanted, events)

    def _write(self) -> None:
        """Bring what waits, in order, into marks and log. Some forty launches, no sync."""
        events, self._pending, self._slots = self._pending, [], 0
        if not events:
            return
        self._begin_anew(events[-1].event.number)
        device = self._newest.device
        *rows, backs = self._columns(events)
        columns = torch.tensor([*rows, backs], dtype=torch.int64)
        if self._newest.is_cuda:
            columns = columns.pin_memory().to(device, non_blocking=True)
        slots = rows[0][-1]
        index = torch.arange(slots, device=device)
        event = torch.searchsorted(columns[0], index, right=True)
        mark, base, start, number, back = columns[1:, event].unbind()
        pages = torch.cat([each.pages.to(device, non_blocking=True) for each in events]).long()
        keep = (pages > 0) & (pages < self.num_pages)
        self._newest.scatter_reduce_(0, torch.where(keep, pages + base, 0), mark, "amax")
        position = index - start
        keep = keep & ((position == 0) | (pages != pages.roll(1)))
        if any(backs):
            keep = keep & ((back == 0) | (pages[index - back] != pages))
        rank = keep.cumsum(0)
        total = rank[-1]
        if slots > self.capacity:
            keep = keep & (rank > total - self.capacity)
        entry = torch.add(number, position.clamp_(max=POSITIONS), alpha=1 << NUMBER_BITS)
        entry.add_(pages, alpha=1 << (NUMBER_BITS + POSITION_BITS))
        at = torch.where(keep, (rank + self._last) % self.capacity, self.capacity)
        self._log.scatter_(0, at, entry)
        self._last = (self._last + total) % self.capacity

    def _columns(self, pending: list[_Pending]) -> list[list[int]]:
        """Of each event: end of its pages, mark, base of its kind, start, number, and how far
        back the same rows' pages of the decode step before are, 0 if there are none here."""
        ends = list(accumulate(each.size for each in pending))
        starts = [0, *ends[:-1]]
        before: dict[object, int] = {}
        backs = []
        for each, start in zip(pending, starts, strict=True):
            backs.append(0)
            if each.event.key is not None:
                backs[-1] = start - before.get(each.event.key, start)
                before[each.event.key] = start
        return [
            ends,
            [each.event.mark for each in pending],
            [each.event.kind * self.num_pages for each in pending],
            starts,
            [each.event.number & NUMBERS for each in pending],
            backs,
        ]

    def _begin_anew(self, number: int) -> None:
        if number // page_log.ERA != self._era:
            self._era = number // page_log.ERA
            self._log.zero_()
