"""`page_log.py` on a device: events of one call cost one launch there, and nothing waits for it.

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
_CONSTANTS = (NUMBER_BITS, POSITION_BITS, _BLOCK)

_launches: dict[torch.device, Any] = {}
"""Of the kernel, which is compiled once for all pools of a device."""


class DeviceLog:
    """The marks and the log of `num_pages` on `device`, the dummy page included.

    Made once, before the first event: with the first of a device the kernel is compiled.
    """

    def __init__(self, kinds: int, num_pages: int, page_size: int, device: Any) -> None:
        from triage.device import page_note_kernels  # Triton: only where a pool is on a device

        self._kernels = page_note_kernels
        self._wide, self._mark_bits = page_note_kernels.WIDE, page_note_kernels.MARK_BITS
        self._low_bits = (1 << self._mark_bits) - 1
        self.num_pages, self.page_size = num_pages, page_size
        self.capacity = entries_of(num_pages)
        # Pages of the decode step before, and whose; a larger batch has an entry each step.
        self._rows = max(64, min(_MOST_ROWS, num_pages // 8))
        self._key: object = None
        self._era = 0
        log = page_note_kernels.HEAD + kinds * num_pages
        before = log + self.capacity
        self._pool = torch.zeros(before + self._rows // 2 + 1, dtype=torch.int64, device=device)
        for word, value in (
            (page_note_kernels.NUM_PAGES, num_pages),
            (page_note_kernels.PAGE_SIZE, page_size),
            (page_note_kernels.CAPACITY, self.capacity),
            (page_note_kernels.LOG, log),
            (page_note_kernels.BEFORE, before),
        ):
            self._pool[word].fill_(value)
        self._newest = self._pool[page_note_kernels.HEAD : log].view(kinds, num_pages)
        self._log = self._pool[log:before]
        self._address = self._pool.data_ptr()
        self.device = self._pool.device
        self._none = (self._address, self._address, 0, 0, 0, 0, 0, 0, 0)
        self._launch = self._launch_of(self.device)

    @property
    def nbytes(self) -> int:
        return self._pool.nbytes

    def add(self, event: Noted, slots: Tensor) -> None:
        """`slots`, `(n,)`, int32 or int64, were moved. One launch, no sync."""
        arguments, kept = self._arguments(event, slots)
        self._launch(-(-arguments[2] // _BLOCK), 1, *arguments, *self._none, *_CONSTANTS)
        del kept  # until the launch was handed over

    def add_with(
        self, event: Noted, slots: Tensor, other: DeviceLog, others: Noted, moved: Tensor
    ) -> None:
        """As `add`, together with an event of another pool: one launch on one device."""
        if other.device != self.device:
            self.add(event, slots)
            other.add(others, moved)
            return
        first, kept = self._arguments(event, slots)
        second, kept_too = other._arguments(others, moved)
        blocks = -(-max(first[2], second[2]) // _BLOCK)
        self._launch(blocks, 2, *first, *second, *_CONSTANTS)
        del kept, kept_too

    def newest(self) -> np.ndarray:
        """`(kinds, num_pages)` int64, 0 for none. Waits for everything on the device."""
        if self._newest.is_cuda:
            torch.cuda.synchronize(self.device)
        return self._newest.cpu().numpy()

    def entries(self, wanted: set[int], events: int) -> Iterator[tuple[int, int, int]]:
        """See `unpacked`. Waits for the device."""
        return unpacked(self._log.cpu().numpy(), wanted, events)

    # -- helpers ----------------------------------------------------------------------------

    def _arguments(self, event: Noted, slots: Tensor) -> tuple[tuple[int, ...], Tensor]:
        """Of the kernel for one event, and the tensor whose address is among them."""
        number, kind, mark, shared, key = event
        if number // page_log.ERA != self._era:
            self._era = number // page_log.ERA
            self._log.zero_()
        if slots.device != self.device:
            slots = slots.to(self.device, non_blocking=True)
        if slots.dtype is torch.int64:
            form = self._wide
        elif slots.dtype is torch.int32:
            form = 0
        else:
            slots, form = slots.long(), self._wide
        (count,), (stride,) = slots.shape, slots.stride()
        if shared:
            form |= self._kernels.SHARED
        if key is not None and count <= self._rows:
            form |= self._kernels.REMEMBERED
            if key == self._key:
                form |= self._kernels.COMPARED
            self._key = key
        high, low = mark >> self._mark_bits, mark & self._low_bits
        address = slots.data_ptr()
        return (
            self._address,
            address,
            count,
            stride,
            kind,
            high,
            low,
            number & NUMBERS,
            form,
        ), slots

    def _launch_of(self, device: torch.device) -> Any:
        from triage.device.direct_launches import DirectLaunch

        launch = _launches.get(device)
        if launch is None:
            arguments = (*self._none, *self._none, *_CONSTANTS)
            kernel = self._kernels.note_pages_kernel
            launch = _launches[device] = DirectLaunch(kernel, device, arguments)
        return launch
