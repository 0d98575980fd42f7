"""Where in a queued forward the scheduler's work on its own stream takes effect.

Under overlap the forward of step N + 1 is queued, and then the result of step N is looked
at: pages go back and the mapping is cleared on another stream, at any point of that forward.
On the CPU there is one order only, so the work is done from inside the forward, at a point
that is drawn: before its metadata, behind it, before some layer, or behind it all.

In mode `raise` a check outside a graph makes the host wait while the forward is launched, so
there the result is looked at behind it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

POINTS = 12
"""Of a forward, those that are drawn from; a point that it does not have is behind it."""


class Landing:
    """Does one piece of work at a point of the next forward. Call it at every point."""

    def __init__(self, seed: int, inside: bool) -> None:
        """inside: whether it may be anywhere but behind the forward."""
        self._rng = np.random.default_rng([seed, 12])
        self._inside = inside
        self._work: Callable[[], None] | None = None
        self._left = 0

    def expect(self, work: Callable[[], None]) -> None:
        """The next forward is about to be queued, and this is to be done meanwhile."""
        self._work = work
        self._left = int(self._rng.integers(0, POINTS))

    def __call__(self) -> None:
        """A point of a forward."""
        if self._work is None or not self._inside:
            return
        if self._left == 0:
            self.behind()
        else:
            self._left -= 1

    def behind(self) -> None:
        """The forward is over: whatever has not been done is done now."""
        work, self._work = self._work, None
        if work is not None:
            work()

    def waits_for_the_next_plan(self) -> bool:
        """Does the forward run behind the plan of the step after it? One in three, if inside."""
        return self._inside and bool(self._rng.integers(0, 3) == 0)
