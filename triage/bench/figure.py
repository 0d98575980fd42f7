"""One measured figure and its bar."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` in `unit`; `bar` says what is promised, `met` whether it holds (None: no promise).

    No value: it was not measured, and `beside` says why.
    """

    name: str
    value: float | None
    unit: str
    bar: str = ""
    met: bool | None = None
    beside: str = ""

    def json(self) -> dict[str, Any]:
        return asdict(self)


def skipped(name: str, why: str) -> Figure:
    """A figure that could not be measured here: neither met nor missed."""
    return Figure(name, None, "", "", None, f"skipped: {why}")


def at_most(name: str, value: float, limit: float, unit: str, beside: str = "") -> Figure:
    return Figure(name, value, unit, f"<= {limit:g} {unit}", value <= limit, beside)


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median wall time of `call` over `repeats` runs after one warm-up."""
    call()
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)
