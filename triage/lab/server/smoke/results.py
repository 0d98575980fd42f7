"""Cells: what each part of a smoke run came to, kept at once, so that a later run goes on.

A cell that was measured is not played again, whether it held or not; one that could not be
played (its server was dead, the budget was spent) is.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Cell:
    """One part of a job. `held`: True, False, or None where it was not measured; `why` then.

    figures: JSON values by name.
    """

    job: str
    name: str
    held: bool | None
    why: str = ""
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.job}/{self.name}"


class Results:
    """The cells of `path`, and those that this run adds. Safe to call from several threads.

    retry: cells of an earlier run that did not hold are played again.
    """

    def __init__(self, path: Path, *, retry: bool = False) -> None:
        self.path, self.retry = path, retry
        self.cells: dict[str, Cell] = {}
        self._lock = threading.Lock()
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                cell = Cell(**json.loads(line))
            except (ValueError, TypeError):  # a line that was cut off while it was written
                continue
            self.cells[cell.key] = cell
        self._before = dict(self.cells)

    def done(self, job: str, name: str) -> bool:
        cell = self.cells.get(f"{job}/{name}")
        if cell is None or cell.held is None:
            return False
        return cell.held or not (self.retry and self._before.get(cell.key) is cell)

    def add(self, cell: Cell) -> None:
        with self._lock:
            self.cells[cell.key] = cell
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(cell)) + "\n")

    def figure(self, job: str, name: str, figure: str) -> Any:
        """One figure of one cell, None where there is none."""
        cell = self.cells.get(f"{job}/{name}")
        return None if cell is None else cell.figures.get(figure)


class Clock:
    """The budget of a run in seconds. `over` once it is spent or the run was told to stop."""

    def __init__(self, budget_s: float) -> None:
        self.end = time.monotonic() + budget_s
        self.stopped = threading.Event()

    @property
    def left(self) -> float:
        return 0.0 if self.stopped.is_set() else max(0.0, self.end - time.monotonic())

    @property
    def over(self) -> bool:
        return self.left <= 0
