"""Containment: the launch reads a copy in which offending entries name the dummy page.

The failure: a wild page id faults inside the attention kernel, the CUDA context
is lost, and with it every request on the server and most of the evidence. The
rule: the check's own launch writes the copy, so a redirect cannot happen
without being counted; a clean table is copied unchanged; what was computed from
a redirected entry is wrong and must never leave as output, which is for the
caller to see to when the report arrives.

Redirected are live entries that break I1. An id in the pool that is another request's (I2)
stays as it is: reading it cannot fault, the step's output does not leave, and where the
scheduler has just moved a request's row it is SGLang's own table that is right (triage/sglang/
scheduler/in_flight.py). Columns past the length become
page 0 too (kernels prefetch to the end of a tile), and a length past the table
is cut to it (I26).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from triage.device.checker import CheckRefused, DeviceChecker, SafeCopy
from triage.device.launches import TableLaunch
from triage.invariants.reads import IndexSpace


class Containment:
    """One table and one length buffer per index space, allocated before any capture.

    A buffer holds the copy of the space's newest launch only. A forward that
    goes back to an earlier table of that space has to redirect it again.

    Args:
        checker: counts what is redirected.
        spaces: names of the index spaces that will be asked for.
        max_rows, max_columns: the largest table; smaller ones share the buffer.
    `newest` is the launch of the last `redirect`, as `check_table` returns it.
    Memory: (max_rows * max_columns + max_rows) * 4 bytes per space.
    """

    def __init__(
        self, checker: DeviceChecker, spaces: Iterable[str], *, max_rows: int, max_columns: int
    ) -> None:
        self._checker = checker
        self._max_rows, self._max_cells = max_rows, max_rows * max_columns
        self._buffers = {
            name: torch.zeros(self._max_cells + max_rows, dtype=torch.int32, device=checker.device)
            for name in spaces
        }
        self.newest: TableLaunch | None = None
        self._views: dict[tuple[str, int, int], SafeCopy] = {}

    def redirect(
        self,
        block_tables: Tensor,
        cache_seqlens: Tensor,
        space: IndexSpace,
        *,
        lane: str | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor]:
        """Check one launch and return the table and the lengths it may read.

        Args: those of `DeviceChecker.check_table`, without `safe`; besides,
            lane: the buffer's name where it is not the space's.
        Returns: `(rows, width)` and `(rows,)`, int32, dense, at addresses that stay
            the same for the same shape and space, so that a captured graph may read them.
        Raises:
            CheckRefused: nothing was launched; the caller's own tensors are all there is.
        Cost: that of `check_table`: one launch, no sync, no allocation, legal under capture.
        """
        if block_tables.dim() != 2:
            raise CheckRefused(f"block_tables has {block_tables.dim()} dimensions, not 2")
        rows, width = block_tables.shape
        key = lane or space.name, rows, width
        safe = self._views.get(key)
        if safe is None:
            safe = self._views[key] = self._view(*key)
        self.newest = self._checker.check_table(
            block_tables, cache_seqlens, space, safe=safe, **options
        )
        return safe.table, safe.lengths

    def has_room(self, rows: int, columns: int) -> bool:
        """Is the buffer large enough for a table of this size?"""
        return rows <= self._max_rows and rows * columns <= self._max_cells

    def _view(self, name: str, rows: int, width: int) -> SafeCopy:
        buffer = self._buffers.get(name)
        if buffer is None:
            raise CheckRefused(f"no buffer for {name!r}; there are {sorted(self._buffers)}")
        if not self.has_room(rows, width):
            room = f"{self._max_rows} rows and {self._max_cells} cells"
            raise CheckRefused(f"a table of {rows} x {width} exceeds {room}")
        table, lengths = buffer.split([self._max_cells, self._max_rows])
        return SafeCopy(table[: rows * width].view(rows, width), lengths[:rows])
