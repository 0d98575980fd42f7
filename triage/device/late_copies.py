"""Numbers on their way from the device to the host: copied now, looked at once they are there.

The failure: whoever reads a number as soon as it exists waits for all the work before it. The
rule: `send` queues a copy into pinned memory on the current stream, with an event behind it,
and `arrived` hands out what an event says is there. Neither waits.

The order of `send` is the order of arrival. A tensor is read in the order of its stream, so
it has to be sent on the stream that it was made on, or behind it. Not to be called under a
capture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")

BUFFERS = 8
"""Copies that may be on their way at a time; SGLang runs one step ahead of its device."""
FIRST = 1 << 8
"""Numbers that a buffer holds before it has to grow, 2 KiB."""


class _Buffer:
    def __init__(self, ids: int, on_cuda: bool) -> None:
        self.host = torch.empty(ids, dtype=torch.int64, pin_memory=on_cuda)
        self.numbers = self.host.numpy()
        self.event = torch.cuda.Event() if on_cuda else None


@dataclass(slots=True)
class _OnItsWay(Generic[T]):
    told: T
    buffer: _Buffer
    ids: int
    kept: Tensor  # until the copy is through


class LateCopies(Generic[T]):
    """Copies of one device. Memory: a few KiB of pinned memory, unless a copy is larger."""

    def __init__(self, device: torch.device) -> None:
        self.on_cuda = device.type == "cuda"
        self._free: list[_Buffer] = []
        self._made = 0
        self._pending: deque[_OnItsWay[T]] = deque()

    @property
    def full(self) -> bool:
        """Is every buffer on its way?"""
        return self._made - len(self._free) >= BUFFERS

    @property
    def waiting(self) -> bool:
        """Is anything on its way?"""
        return bool(self._pending)

    def send(self, ids: list[Tensor], told: T) -> None:
        """Queue a copy of these int64 numbers, one behind the other. Not if `full`.

        told: handed out with them. Cost: two launches and an event, no wait; a buffer that is
            too small is made anew, which a driver may wait for.
        """
        flat = (
            ids[0].reshape(-1) if len(ids) == 1 else torch.cat([each.reshape(-1) for each in ids])
        )
        count = flat.numel()
        buffer = self._buffer(count)
        buffer.host[:count].copy_(flat, non_blocking=True)
        if buffer.event is not None:
            buffer.event.record()
        self._pending.append(_OnItsWay(told, buffer, count, flat))

    def arrived(self) -> Iterator[tuple[T, np.ndarray]]:
        """What is there by now, oldest first. An array is good until the next one is taken."""
        while self._pending:
            first = self._pending[0]
            if first.buffer.event is not None and not first.buffer.event.query():
                return
            self._pending.popleft()
            yield first.told, first.buffer.numbers[: first.ids]
            self._free.append(first.buffer)

    def _buffer(self, ids: int) -> _Buffer:
        if self._free:
            buffer = self._free.pop()
            if len(buffer.numbers) >= ids:
                return buffer
        else:
            self._made += 1
        return _Buffer(max(FIRST, 1 << (ids - 1).bit_length()), self.on_cuda)
