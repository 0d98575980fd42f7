"""A bar with an estimate, on stderr, for work of more than two seconds.

None where stderr is not a terminal: a log is no place for it. It appears after two seconds,
so that quick work prints what it always did, and is gone when the work is done.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from triage.files.text import console, printable

AFTER_S = 2.0
BAR, NARROWEST = 8, 16
BESIDE = BAR + 34
"""Columns of all but the words: bar, steps of steps, seconds, what is left, and between them."""


class Tell(Protocol):
    """What work tells of itself: steps done, all of them where that is known, and the one now."""

    def __call__(self, done: int, of: int | None = None, now: str = "") -> None: ...


Result = TypeVar("Result")


@contextmanager
def progress(what: str, total: int | None = None, after_s: float = AFTER_S) -> Iterator[Tell]:
    """A bar while the block runs; it yields what the block tells its steps to."""
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    shown = console(err=True)
    room = max(shown.width - BESIDE, NARROWEST)
    whole = Column(no_wrap=True)
    bar = Progress(
        TextColumn("{task.description}", table_column=Column(max_width=room, no_wrap=True)),
        BarColumn(bar_width=BAR, table_column=Column(width=BAR)),
        MofNCompleteColumn(table_column=whole),
        TextColumn("{task.elapsed:.0f} s", table_column=whole),
        TextColumn("left", table_column=whole),
        TimeRemainingColumn(table_column=whole),
        console=shown,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else what is printed would follow the bar to stderr
    )
    task = bar.add_task(printable(what), total=total)

    def tell(done: int, of: int | None = None, now: str = "") -> None:
        description = printable(f"{what}: {now}" if now else what)
        bar.update(task, completed=done, total=of or total, description=description)

    waiting = threading.Timer(after_s, bar.start)
    waiting.daemon = True
    waiting.start()
    try:
        yield tell
    finally:
        waiting.cancel()
        waiting.join()  # else it could start what is stopped here
        bar.stop()


def counted(what: str, work: Callable[[Tell], Result]) -> Result:
    """Run `work(tell)` with a bar."""
    with progress(what) as tell:
        return work(tell)


def _silent(done: int, of: int | None = None, now: str = "") -> None:
    """Nobody looks."""
