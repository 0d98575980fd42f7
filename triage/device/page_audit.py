"""The pages of the requests that run against the lists of free pages, without a wait.

The failure: a page is freed while a request still reads it, or freed twice, so that two
requests get it. The rule, of one pool at one moment: no page of a running request is listed
as free, no page is listed twice, and two requests that share a page have it at the same
place, as a common prefix is. Who holds what is written into an array with a cell for each
page, on the device; what contradicts it comes to the host as a few numbers, later.

All of it runs on the current stream: lists, rows and lengths have to be of one moment of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NUMBERS = 8
"""int64 numbers of one pool, in the order of `Contradictions`."""


@dataclass(frozen=True, slots=True)
class Contradictions:
    """What the host is told of one pool; counts are 0 where nothing is wrong.

    read: how often the page `page` is listed as free, page `column` of request `request`.
    listed: how often the page `twice` is listed, the most of all; 1 is right.
    dummy: how often page 0 is listed.
    moved: a page of a request that another has at another place; 0 if there is none.
    """

    read: int
    page: int
    column: int
    request: int
    listed: int
    twice: int
    dummy: int
    moved: int

    @property
    def any(self) -> bool:
        return bool(self.read or self.listed > 1 or self.dummy or self.moved)


def contradictions(numbers: np.ndarray) -> Contradictions:
    """Of the `NUMBERS` of one pool, on the host."""
    return Contradictions(*map(int, numbers))


class PageAudit:
    """The arrays of one pool, made once.

    Args:
        num_pages: the dummy page 0 included.
    Memory: 8 bytes a page, and 12 for a row and page of the widest look.
    """

    def __init__(self, num_pages: int, page_size: int, device: torch.device) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self._listed = torch.zeros(num_pages, dtype=torch.int32, device=device)
        self._place = torch.zeros(num_pages, dtype=torch.int64, device=device)
        self._one = torch.ones(1, dtype=torch.int32, device=device)
        self._places = torch.zeros(0, 0, dtype=torch.int64, device=device)

    def look(self, slots: Tensor, live: Tensor, rows: Tensor, lists: Sequence[Tensor]) -> Tensor:
        """What contradicts the lists of this pool, `(NUMBERS,)` int64, on the device.

        Args:
            slots: `(rows, columns)`, integer: the first slot of each page of each request,
                in this pool; 0 where it has none.
            live: the same shape, bool: may the request read that page?
            rows: `(rows,)`, index of the request.
            lists: the tensors of free pages, all of them.
        Cost: about 30 launches, no sync. Ids outside the pool are passed over: other checks
            judge them. Not under a capture, since it keeps what it makes.
        """
        last = self.num_pages - 1
        pages = torch.div(slots, self.page_size, rounding_mode="floor").long() * live
        flat = pages.clamp_(0, last).reshape(-1)
        listed = self._listed.zero_()
        for free in lists:
            listed.index_add_(0, free.clamp(0, last), self._one.expand(free.numel()))
        real = flat > 0
        read, at = (listed.index_select(0, flat) * real).max(0)
        at = at.view(1)
        most, twice = listed[1:].max(0)
        width = slots.shape[1]
        places = self._places_of(*slots.shape)
        self._place.zero_().scatter_(0, flat, places)
        moved = ((self._place.index_select(0, flat) != places) * real * flat).max()
        told = (
            read,
            flat.index_select(0, at)[0],
            at[0] % width,
            rows.index_select(0, torch.div(at, width, rounding_mode="floor"))[0],
            most,
            twice + 1,
            listed[0],
            moved,
        )
        return torch.stack([each.to(torch.int64) for each in told])

    def _places_of(self, rows: int, width: int) -> Tensor:
        """1 + the column of each page, row after row."""
        known = self._places
        if known.shape[1] != width or len(known) < rows:
            columns = torch.arange(1, width + 1, device=known.device)
            known = self._places = columns.repeat(rows, 1)
        return known[:rows].reshape(-1)
