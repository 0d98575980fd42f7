"""Streams and events on a machine without a GPU: a clock, and streams that are busy until.

Stands for CUDA where order is looked at (`triage/device/cuda_streams.py`). Work is a duration in
microseconds that is queued on a stream; nothing is computed. The host's own time passes only
where it is told to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class PretendedEvent:
    """A point of time on a stream, in microseconds."""

    streams: PretendedStreams
    at: float

    def query(self) -> bool:
        return self.at <= self.streams.now

    def elapsed_time(self, end_event: PretendedEvent) -> float:
        if not (self.query() and end_event.query()):
            raise RuntimeError("an event has not been passed yet")  # as CUDA: not ready
        return (end_event.at - self.at) / 1000


class PretendedStreams:
    """Streams by number; 0 is the default one. `now` is the host's time in microseconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.recorded = 0
        self._current = 0
        self._busy_until: dict[int, float] = {}

    def current(self) -> int:
        return self._current

    @contextmanager
    def on(self, stream: int) -> Iterator[None]:
        """`stream` is the current one inside."""
        before, self._current = self._current, stream
        try:
            yield
        finally:
            self._current = before

    def queue(self, duration: float) -> None:
        """Work of `duration` on the current stream."""
        self._busy_until[self._current] = self._end() + duration

    def record(self) -> PretendedEvent:
        self.recorded += 1
        return PretendedEvent(self, self._end())

    def wait_event(self, event: PretendedEvent) -> None:
        """What the current stream is given from here on begins behind `event`."""
        self._busy_until[self._current] = max(self._end(), event.at)

    def pass_time(self, duration: float) -> None:
        self.now += duration

    def _end(self) -> float:
        return max(self._busy_until.get(self._current, 0.0), self.now)
