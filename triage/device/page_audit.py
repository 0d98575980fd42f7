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

NUMBERS = 14
"""int64 numbers of one pool that `contradictions` reads."""

_COLUMN = 32
"""A place is `column << _COLUMN | row`; that of the lowest column is kept as its complement."""

_NOWHERE = -1 << 62


@dataclass(frozen=True, slots=True)
class Contradictions:
    """What the host is told of one pool; counts are 0 where nothing is wrong.

    read: how often the page `page` is listed as free, page `column` of request `request`.
    listed: how often the page `twice` is listed, the most of all; 1 is right.
    dummy: how often page 0 is listed.
    moved: a page that is at two columns, 0 if none is; `first` and `second` are a column and a
        request each.
    longest: tokens of the longest request, right or wrong.
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
    longest: int = 0

    @property
    def any(self) -> bool:
        return bool(self.read or self.listed > 1 or self.dummy or self.moved)


def contradictions(numbers: np.ndarray) -> Contradictions:
    """Of the `NUMBERS` of one pool, on the host."""
    told = numbers.tolist()
    (spread, most, read), (moved, twice, page) = told[:3], (each + 1 for each in told[3:6])
    lowest, highest = [_place(~each) for each in told[7:10]], [_place(each) for each in told[10:13]]
    apart, used = spread >= 0, read > 0
    nowhere = (0, 0)
    return Contradictions(
        read=read,
        page=page if used else 0,
        column=lowest[2][0] if used else 0,
        request=lowest[2][1] if used else 0,
        listed=most,
        twice=twice,
        dummy=told[6],
        moved=moved if apart else 0,
        first=lowest[0] if apart else nowhere,
        second=highest[0] if apart else nowhere,
        longest=told[13],
    )


def _place(packed: int) -> tuple[int, int]:
    """(column, request)"""
    return packed >> _COLUMN, packed & ((1 << _COLUMN) - 1)


class PageAudit:
    """The arrays of one pool, made once.

    Args:
        num_pages: the dummy page 0 included.
    Memory: 28 bytes a page, 16 a column.
    """

    def __init__(self, num_pages: int, page_size: int, device: torch.device) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        power = page_size & (page_size - 1) == 0
        # A shift where the size allows it: a division takes five times as long.
        self._shift = page_size.bit_length() - 1 if power else None
        # Of each page the complement of its lowest place and its highest; one cell for ids beyond.
        self._ends = torch.zeros(2, num_pages + 1, dtype=torch.int64, device=device)
        # Of each page how far its places are apart, how often it is listed, and that if it is read.
        self._wrong = torch.zeros(3, num_pages, dtype=torch.int32, device=device)
        self._spread, self._listed, self._read = self._wrong
        self._dummy, self._worst = self._listed[:1], self._wrong[:, 1:]  # page 0 is everywhere
        self._legal, self._named = self._ends[:, :-1], self._ends[:, 1:-1]
        self._highest = self._legal[1]
        self._one = torch.ones(1, dtype=torch.int32, device=device)
        self._signs = torch.tensor([[-1], [1]], device=device)
        self._nothing = torch.zeros(1, dtype=torch.int64, device=device)
        self._starts = torch.zeros(0, dtype=torch.int64, device=device)
        self._columns = torch.zeros(2, 1, 0, dtype=torch.int64, device=device)

    def read(self, slots: Tensor, lengths: Tensor, window: int | None = None) -> Tensor:
        """What the next forward may read of the first slots of pages, int64; 0 beyond that.

        Args:
            slots: `(rows, columns)`, integer: the first slot of each page of each request.
            lengths: `(rows,)`, tokens.
            window: tokens before the end that are read; None for all.
        Cost: 2 launches, 5 with a window; no sync.
        """
        width = slots.shape[1]
        if len(self._starts) < width:
            columns = torch.arange(2 * width, device=slots.device)  # requests grow
            self._starts, packed = columns * self.page_size, columns << _COLUMN
            self._columns = torch.stack((~packed, packed))[:, None]
        starts, lengths = self._starts[:width], lengths[:, None]
        live = starts < lengths
        if window is not None:
            live &= starts >= lengths - int(window)
        return torch.where(live, slots, self._nothing)

    def look(self, slots: Tensor, rows: Tensor, lengths: Tensor, lists: Sequence[Tensor]) -> Tensor:
        """What contradicts the lists of this pool, `(NUMBERS,)` int64, on the device.

        Args:
            slots: `(rows, columns)`, int64: those of `read`, in this pool. It is written to.
            rows, lengths: `(rows,)`, index of the request, not negative, and its tokens.
            lists: the tensors of free pages, all of them.
        Cost: 18 launches, no sync. Ids outside the pool are passed over: other checks
            judge them. Not under a capture.
        """
        listed, last = self._listed.zero_(), self.num_pages - 1
        for free in lists:
            listed.index_add_(0, free.clamp(0, last), self._one.expand(free.numel()))
        self._note_places(slots, rows)
        torch.sum(self._legal >> _COLUMN, 0, dtype=torch.int32, out=self._spread)
        torch.mul(listed, self._highest >= 0, out=self._read)
        most, at = self._worst.max(1)
        places = self._named.index_select(1, at).view(-1)
        return torch.cat((most, at, self._dummy, places, lengths.max().view(1)))

    def _note_places(self, slots: Tensor, rows: Tensor) -> None:
        """Of each page both ends of the columns that it is at."""
        if self._shift is None:
            pages = slots.div_(self.page_size, rounding_mode="floor")
        else:
            pages = slots.bitwise_right_shift_(self._shift)
        pages.clamp_(0, self.num_pages)
        columns = self._columns[:, :, : slots.shape[1]]
        places = columns + (rows * self._signs)[:, :, None]  # the complement: ~column - row
        self._ends.fill_(_NOWHERE).scatter_reduce_(
            1, pages.reshape(1, -1).expand(2, -1), places.view(2, -1), "amax"
        )
