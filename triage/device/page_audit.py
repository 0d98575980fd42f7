"""The pages of the requests that run against the lists of free pages, without a wait.

The failure: a page is freed while a request still reads it, or freed twice, so that two
requests get it. The rule, of one pool at one moment: no page of a running request is listed
as free, no page is listed twice, and none is at two columns of the rows: keys belong to their
positions, so a prefix that requests share lies at the same columns of each. The lists are counted
into an array with a cell for each page, on the device; what contradicts them comes to the host as
a few numbers, later. A page that two rows have at one column is not judged here: whether their
tokens agree up to there is known to the host alone.

All of it runs on the current stream: lists, rows and lengths have to be of one moment of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NUMBERS = 12
"""int64 numbers of one pool, in the order of `Contradictions`."""


@dataclass(frozen=True, slots=True)
class Contradictions:
    """What the host is told of one pool; counts are 0 where nothing is wrong.

    read: how often the page `page` is listed as free, page `column` of request `request`.
    listed: how often the page `twice` is listed, the most of all; 1 is right.
    dummy: how often page 0 is listed.
    moved: a page that is at two columns, 0 if none is; `first` and `second` are a column and a
        request each.
    """

    read: int
    page: int
    column: int
    request: int
    listed: int
    twice: int
    dummy: int
    moved: int
    first: tuple[int, int]
    second: tuple[int, int]

    @property
    def any(self) -> bool:
        return bool(self.read or self.listed > 1 or self.dummy or self.moved)


def contradictions(numbers: np.ndarray) -> Contradictions:
    """Of the `NUMBERS` of one pool, on the host."""
    told = [int(each) for each in numbers]
    read, page, column, request, listed, twice, dummy, moved = told[:8]
    return Contradictions(
        read=read,
        page=page,
        column=column,
        request=request,
        listed=listed,
        twice=twice,
        dummy=dummy,
        moved=moved,
        first=(told[8], told[9]),
        second=(told[10], told[11]),
    )


class PageAudit:
    """The arrays of one pool, made once.

    Args:
        num_pages: the dummy page 0 included.
    Memory: 20 bytes a page.
    """

    def __init__(self, num_pages: int, page_size: int, device: torch.device) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self._listed = torch.zeros(num_pages, dtype=torch.int32, device=device)
        self._lowest = torch.zeros(num_pages, dtype=torch.int64, device=device)
        self._highest = torch.zeros(num_pages, dtype=torch.int64, device=device)
        self._one = torch.ones(1, dtype=torch.int32, device=device)

    def look(self, slots: Tensor, live: Tensor, rows: Tensor, lists: Sequence[Tensor]) -> Tensor:
        """What contradicts the lists of this pool, `(NUMBERS,)` int64, on the device.

        Args:
            slots: `(rows, columns)`, integer: the first slot of each page of each request,
                in this pool; 0 where it has none.
            live: the same shape, bool: may the request read that page?
            rows: `(rows,)`, index of the request.
            lists: the tensors of free pages, all of them.
        Cost: about 35 launches, no sync. Ids outside the pool are passed over: other checks
            judge them. Not under a capture.
        """
        last = self.num_pages - 1
        pages = torch.div(slots, self.page_size, rounding_mode="floor").long() * live
        flat = (pages * (pages >= 0) * (pages <= last)).reshape(-1)
        listed = self._listed.zero_()
        for free in lists:
            listed.index_add_(0, free.clamp(0, last), self._one.expand(free.numel()))
        real = flat > 0
        read, at = (listed.index_select(0, flat) * real).max(0)
        at = at.view(1)
        most, twice = listed[1:].max(0)
        width = slots.shape[1]
        moved, *places = self._moved(flat, slots.shape[0], width, rows)
        told = (
            read,
            flat.index_select(0, at)[0],
            at[0] % width,
            rows.index_select(0, torch.div(at, width, rounding_mode="floor"))[0],
            most,
            twice + 1,
            listed[0],
            moved,
            *places,
        )
        return torch.stack([each.to(torch.int64) for each in told])

    def _moved(self, flat: Tensor, count: int, width: int, rows: Tensor) -> tuple[Tensor, ...]:
        """A page at two columns, or 0, and two of its places: column, request, column, request."""
        number = torch.arange(flat.numel(), device=flat.device)
        index = torch.div(number, width, rounding_mode="floor")
        place = (number - index * width) * count + index  # by column first, so that extremes differ
        low = self._lowest.fill_(flat.numel()).scatter_reduce_(0, flat, place, "amin")
        high = self._highest.fill_(-1).scatter_reduce_(0, flat, place, "amax")
        columns = [torch.div(end, count, rounding_mode="floor") for end in (low, high)]
        apart = (columns[0] < columns[1])[1:]  # page 0 is everywhere; a page of nobody has none
        found, page = apart.to(torch.int64).max(0)
        page = ((page + 1) * found).view(1)
        told = [page[0]]
        for end, column in zip((low, high), columns, strict=True):
            at = (end - column * count).index_select(0, page).clamp_(0, count - 1)
            told += [column.index_select(0, page)[0], rows.index_select(0, at)[0]]
        return tuple(told)
