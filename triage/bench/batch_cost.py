"""What one run of a batch cost: time, processor time, and the memory of all its processes."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from triage.batch.run import Batch, Told, run
from triage.engines import Engine


@dataclass(slots=True)
class Cost:
    """Of one run. Memory is that of all processes together: at a third of the dumps, at its most
    while they are read, and at its most of all, when the rows are put together."""

    batch: Batch
    wall_s: float
    workers_cpu_s: float
    driver_cpu_s: float
    third_mb: float = 0.0
    reading_mb: float = 0.0
    most_mb: float = 0.0
    load: float = 0.0


@dataclass(slots=True)
class _Memory:
    samples: list[tuple[int, float]] = field(default_factory=list)
    done: int = 0


def measured(folder: Path, out: Path, made: Callable[[], Engine]) -> Cost:
    """Explain `folder` into `out`, without minimal dumps."""
    ours, theirs = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with _memory() as memory:

        def tell(told: Told) -> None:
            memory.done = told.done

        batch = run([str(folder)], out, made, minimal=False, tell=tell)
    cost = Cost(
        batch,
        time.perf_counter() - began,
        _cpu(resource.RUSAGE_CHILDREN) - theirs,
        _cpu(resource.RUSAGE_SELF) - ours,
        load=os.getloadavg()[0],
    )
    third = batch.made / 3
    cost.third_mb = max((mb for done, mb in memory.samples if done <= third), default=0.0)
    cost.reading_mb = max((mb for done, mb in memory.samples if done < batch.made), default=0.0)
    cost.most_mb = max((mb for _, mb in memory.samples), default=0.0)
    return cost


def _cpu(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


@contextmanager
def _memory() -> Iterator[_Memory]:
    """Samples the resident memory of this process and its children, each second."""
    memory, end = _Memory(), threading.Event()

    def look() -> None:
        while not end.wait(1.0):
            memory.samples.append((memory.done, sum(map(_resident_mb, _family()))))

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield memory
    finally:
        end.set()
        watching.join()


def _family() -> list[int]:
    """This process and all below it: Ray's workers are children of its own processes."""
    found = [os.getpid()]
    for pid in found:
        for each in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += map(int, each.read_text().split())
            except OSError:
                continue
    return found


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 1e6
