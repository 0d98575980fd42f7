"""`page_log.py` on a device: an event costs one launch there, and nothing waits for it.

Not covered: a device that Triton has no driver for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.sglang.allocator import page_log
from triage.sglang.allocator.page_log import (
    NUMBER_BITS,
    NUMBERS,
    POSITION_BITS,
    Noted,
    entries_of,
    unpacked,
)

_BLOCK = 1024
_MOST_ROWS = 1024


class DeviceLog:
    """The marks and the log of `num_pages` on `device`, the dummy page included.

    Made once, before the first event: then the kernel is compiled, for int32 and for int64.
    """

    def __init__(self, kinds: int, num_pages: int, page_size: int, device: Any) -> None:
        from triage.device import page_note_kernels  # Triton: only where a pool is on a device

        self._kernels = page_note_kernels
        self.num_pages, self.page_size = num_pages, page_size
        self.capacity = entries_of(num_pages)
        self._newest = torch.zeros((kinds, num_pages), dtype=torch.int64, device=device)
        self._log = torch.zeros(self.capacity, dtype=torch.int64, device=device)
        self._taken = torch.zeros(1, dtype=torch.int64, device=device)
        # Pages of the decode step before, and whose; a larger batch has an entry each step.
        self._rows = max(64, min(_MOST_ROWS, num_pages // 8))
        self._before = torch.zeros(self._rows, dtype=torch.int32, device=device)
        self._key: object = None
        self._era = 0
        for dtype in (torch.int32, torch.int64):
            self._launch(torch.zeros(0, dtype=dtype, device=device), 0, 0, 0, 0)

    @property
    def nbytes(self) -> int:
        held = (self._newest, self._log, self._taken, self._before)
        return sum(each.nbytes for each in held)

    def add(self, event: Noted, slots: Tensor) -> None:
        """`slots`, `(n,)`, int32 or int64, were moved. One launch, no sync."""
        if event.number // page_log.ERA != self._era:
            self._era = event.number // page_log.ERA
            self._log.zero_()
        if slots.device != self._log.device:
            slots = slots.to(self._log.device, non_blocking=True)
        form = self._kernels.SHARED if event.shared else 0
        if event.key is not None and slots.shape[0] <= self._rows:
            form |= self._kernels.REMEMBERED
            if event.key == self._key:
                form |= self._kernels.COMPARED
            self._key = event.key
        self._launch(slots, event.kind, event.mark, event.number & NUMBERS, form)

    def newest(self) -> np.ndarray:
        """`(kinds, num_pages)` int64, 0 for none. Waits for everything on the device."""
        if self._newest.is_cuda:
            torch.cuda.synchronize(self._newest.device)
        return self._newest.cpu().numpy()

    def entries(self, wanted: set[int], events: int) -> Iterator[tuple[int, int, int]]:
        """See `unpacked`. Waits for the device."""
        return unpacked(self._log.cpu().numpy(), wanted, events)

    def _launch(self, slots: Tensor, kind: int, mark: int, number: int, form: int) -> None:
        kernels, count = self._kernels, slots.shape[0]
        kernels.note_pages_kernel[(max(1, -(-count // _BLOCK)),)](
            slots,
            self._newest,
            self._log,
            self._taken,
            self._before,
            count,
            slots.stride(0),
            self.page_size,
            self.num_pages,
            self.capacity,
            kind,
            mark >> kernels.MARK_BITS,
            mark & ((1 << kernels.MARK_BITS) - 1),
            number,
            form,
            NUMBER_BITS,
            POSITION_BITS,
            _BLOCK,
        )
