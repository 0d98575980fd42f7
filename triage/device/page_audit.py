"""The pages of the requests that run against the lists of free pages, without a wait.

The failure: a page is freed while a request still reads it, or freed twice, so that two
requests get it. The rule, of one pool at one moment: no page of a running request is listed
as free, and no page is listed twice. The lists are counted into an array with a cell for each
page, on the device; what contradicts them comes to the host as a few numbers, later. One page in
the rows of two requests is not judged: on an H200 a sound load had one, of which it was not
established that it was wrong.

All of it runs on the current stream: lists, rows and lengths have to be of one moment of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NUMBERS = 7
"""int64 numbers of one pool, in the order of `Contradictions`."""


@dataclass(frozen=True, slots=True)
class Contradictions:
    """What the host is told of one pool; counts are 0 where nothing is wrong.

    read: how often the page `page` is listed as free, page `column` of request `request`.
    listed: how often the page `twice` is listed, the most of all; 1 is right.
    dummy: how often page 0 is listed.
    """

    read: int
    page: int
    column: int
    request: int
    listed: int
    twice: int
    dummy: int

    @property
    def any(self) -> bool:
        return bool(self.read or self.listed > 1 or self.dummy)


def contradictions(numbers: np.ndarray) -> Contradictions:
    """Of the `NUMBERS` of one pool, on the host."""
    return Contradictions(*map(int, numbers))


class PageAudit:
    """The arrays of one pool, made once.

    Args:
        num_pages: the dummy page 0 included.
    Memory: 4 bytes a page.
    """

    def __init__(self, num_pages: int, page_size: int, device: torch.device) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self._listed = torch.zeros(num_pages, dtype=torch.int32, device=device)
        self._one = torch.ones(1, dtype=torch.int32, device=device)

    def look(self, slots: Tensor, live: Tensor, rows: Tensor, lists: Sequence[Tensor]) -> Tensor:
        """What contradicts the lists of this pool, `(NUMBERS,)` int64, on the device.

        Args:
            slots: `(rows, columns)`, integer: the first slot of each page of each request,
                in this pool; 0 where it has none.
            live: the same shape, bool: may the request read that page?
            rows: `(rows,)`, index of the request.
            lists: the tensors of free pages, all of them.
        Cost: about 20 launches, no sync. Ids outside the pool are passed over: other checks
            judge them. Not under a capture.
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
        told = (
            read,
            flat.index_select(0, at)[0],
            at[0] % width,
            rows.index_select(0, torch.div(at, width, rounding_mode="floor"))[0],
            most,
            twice + 1,
            listed[0],
        )
        return torch.stack([each.to(torch.int64) for each in told])
