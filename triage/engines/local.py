"""Processes of this machine."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from triage.engines import ATTEMPTS, IN_FLIGHT, Lost, Result, Task

_PR_SET_PDEATHSIG = 1


class Local:
    """`workers` new processes (spawned, so that no thread or lock of this one is theirs).

    One that dies ends its whole pool, and nobody says which task it had: what was under way is
    run again, one task at a time, in a new pool.
    """

    name = "local"

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | Lost]]:
        waiting = iter(tasks)
        running: dict[Future[Result], Task] = {}
        try:
            while True:
                broken: list[Task] = []
                for task in waiting:
                    if not self._submit(function, task, running, broken):
                        break
                    if len(running) >= self.workers * IN_FLIGHT:
                        break
                if not running and not broken:
                    return
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    task = running.pop(future)
                    try:
                        yield task, future.result()
                    except BrokenProcessPool:
                        broken.append(task)
                if broken:
                    suspects = [*broken, *running.values()]
                    running.clear()
                    yield from self._alone(function, suspects)
        finally:
            for future in running:
                future.cancel()

    def _submit(
        self,
        function: Callable[[Task], Result],
        task: Task,
        running: dict[Future[Result], Task],
        broken: list[Task],
    ) -> bool:
        try:
            running[self._started().submit(function, task)] = task
        except BrokenProcessPool:
            broken.append(task)
            return False
        return True

    def _alone(
        self, function: Callable[[Task], Result], suspects: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | Lost]]:
        """Each by itself: the one that kills its worker is known then."""
        left = deque(suspects)
        while left:
            task = left.popleft()
            for attempt in range(1, ATTEMPTS):
                self._end()
                try:
                    yield task, self._started().submit(function, task).result()
                    break
                except BrokenProcessPool:
                    if attempt == ATTEMPTS - 1:
                        yield task, Lost(f"its worker died {ATTEMPTS} times, twice alone with it")
            self._end()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=(os.getpid(),),
            )
        return self._pool

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def close(self) -> None:
        self._end()


def _begin(parent: int, *_: Any) -> None:
    """End with the process that started us; leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise SystemExit("the process that started this one has gone")
