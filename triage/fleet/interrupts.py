"""Ctrl-C and SIGTERM as one exception, also where a shell started us with SIGINT ignored.

A script's background job has SIGINT ignored, and Python then installs no handler:
KeyboardInterrupt would never come, and SIGTERM would end the process on the spot.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal that asks this process to end. A KeyboardInterrupt, so that asyncio lets it pass."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        return 128 + self.number


@contextmanager
def raised() -> Iterator[None]:
    """Inside, each of NUMBERS raises Interrupted in the main thread; outside, all is as before."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, leave) for number in NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
