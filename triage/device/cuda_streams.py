"""Streams and events of one device, as far as order needs them: who is current, what has ended.

Nothing here waits: an event is recorded, asked whether it has passed, and once two have
passed the device's own clock says which came first. `triage/lab/pretended_streams.py` is the
same on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch


class Event(Protocol):
    """A point on a stream. `torch.cuda.Event(enable_timing=True)` is one."""

    def query(self) -> bool:
        """Has the device passed it? Does not wait."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from here to `end_event`, negative if that came first. Both have passed."""


class Streams(Protocol):
    """The streams of one device."""

    def current(self) -> int:
        """The current stream, as its handle."""

    def record(self, spare: Any = None) -> Event:
        """A point behind everything that the current stream has queued.

        spare: an event that nobody asks any more, to be moved there; None makes a new one.
        """


class CudaStreams:
    """Of a CUDA device. `current` costs 0.1 us of host time.

    `record` with a spare event is one call of CUDA's; without one it makes the event too. Torch
    would look up the current stream once more, as an object: these are kept by their handle.
    """

    def __init__(self, device: torch.device) -> None:
        index = torch.cuda.current_device() if device.index is None else device.index
        raw: Callable[[int], int] = torch._C._cuda_getCurrentRawStream
        self._index, self._raw = index, raw
        self._streams: dict[int, torch.cuda.Stream] = {}

    def current(self) -> int:
        return self._raw(self._index)

    def record(self, spare: Any = None) -> Event:
        handle = self._raw(self._index)
        stream = self._streams.get(handle)
        if stream is None:
            stream = self._streams[handle] = torch.cuda.current_stream(self._index)
        event = torch.cuda.Event(enable_timing=True) if spare is None else spare
        event.record(stream)
        made: Event = event
        return made


def streams_of(device: torch.device) -> Streams | None:
    """The streams of `device`; None where it has none to be ordered."""
    return CudaStreams(device) if device.type == "cuda" else None
