"""Streams and events on a machine without a GPU: a clock, and streams that are busy until.

Stands for CUDA where order is looked at (`triage/device/cuda_streams.py`). Work is a duration in
microseconds that is queued on a stream; nothing is computed. The host's own time passes only
where it is told to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class PretendedEvent:
    """A point of time on a stream, in microseconds; another one once it is recorded again."""

    streams: PretendedStreams
    at: float

    def query(self) -> bool:
        self.streams.queried += 1
        return self.at <= self.streams.now

    def elapsed_time(self, end_event: PretendedEvent) -> float:
        if max(self.at, end_event.at) > self.streams.now:
            raise RuntimeError("an event has not been passed yet")  # as CUDA: not ready
        return (end_event.at - self.at) / 1000


class PretendedStreams:
    """Streams by number; 0 is the default one. `now` is the host's time in microseconds.

    made, recorded, queried: events that were made, and how often one was recorded and asked.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.made = self.recorded = self.queried = 0
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

    def record(self, spare: PretendedEvent | None = None) -> PretendedEvent:
        self.recorded += 1
        if spare is None:
            self.made += 1
            return PretendedEvent(self, self._end())
        spare.at = self._end()
        return spare

    def wait_event(self, event: PretendedEvent) -> None:
        """What the current stream is given from here on begins behind `event`."""
        self._busy_until[self._current] = max(self._end(), event.at)

    def pass_time(self, duration: float) -> None:
        self.now += duration

    def _end(self) -> float:
        return max(self._busy_until.get(self._current, 0.0), self.now)
