"""Run jobs in forked children, so that one that faults ends itself and nobody else.

A kernel that stores where it should not may end the process it runs in. Each job is a list
of steps; the child says which step it begins and sends what that step made. When a child
dies, the step it was in is told so, and a new child goes on behind it. Children are forks:
they start in milliseconds, with everything imported, and may run what cannot be pickled.
For a CPU only: a CUDA context does not survive a fork.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
STEP_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Job(Generic[Result]):
    """Steps to run one after the other in a child.

    Attributes:
        run: makes the result of a step.
        died: makes it where the child ended instead; given the step and a sentence.
        size: how long it takes beside others, where anybody wants to know.
    """

    steps: tuple[str, ...]
    run: Callable[[str], Result]
    died: Callable[[str, str], Result]
    size: int = 1


@dataclass(slots=True)
class _Child(Generic[Result]):
    job: Job[Result]
    process: Any
    pipe: Connection
    done: int = 0
    since: float = 0.0
    closed: bool = False


def available() -> bool:
    """Whether this system forks."""
    return hasattr(os, "fork")


def in_children(
    jobs: Sequence[Job[Result]], workers: int, step_seconds: float = STEP_SECONDS
) -> Iterator[Result]:
    """The results of all steps of all jobs, as they are made, `workers` jobs at a time.

    A step that takes longer than `step_seconds` is ended and told so.
    """
    waiting = list(jobs)
    running: list[_Child[Result]] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_start(waiting.pop(0)))
            wait([child.pipe for child in running], timeout=1.0)
            for child in list(running):
                yield from _received(child)
                why = _ended(child, step_seconds)
                if why is None:
                    continue
                running.remove(child)
                if child.done < len(child.job.steps):
                    yield child.job.died(child.job.steps[child.done], why)
                    rest = child.job.steps[child.done + 1 :]
                    if rest:
                        waiting.insert(0, Job(rest, child.job.run, child.job.died))
    finally:
        for child in running:
            child.process.kill()
            child.process.join()


def _start(job: Job[Result]) -> _Child[Result]:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, sender), daemon=True)
    with warnings.catch_warnings():
        # Python 3.12 warns of forking beside threads: the child starts none and takes no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    sender.close()
    return _Child(job, process, receiver, since=time.monotonic())


def _work(job: Job[Any], pipe: Connection) -> None:
    faulthandler.disable()  # a fault here is a result, not a crash to print
    for step in job.steps:
        pipe.send(job.run(step))
    pipe.close()


def _received(child: _Child[Result]) -> Iterator[Result]:
    try:
        while child.pipe.poll():
            result: Result = child.pipe.recv()
            child.done += 1
            child.since = time.monotonic()
            yield result
    except (EOFError, OSError):
        child.closed = True  # nothing more will come
        child.process.join()


def _ended(child: _Child[Any], step_seconds: float) -> str | None:
    """Why the child is over, None while it runs."""
    if not child.closed:
        if time.monotonic() - child.since < step_seconds:
            return None
        child.process.kill()
        child.process.join()
        return f"the process did not end within {step_seconds:.0f} s"
    code = child.process.exitcode
    if code is not None and code < 0:
        return f"the process died of {signal.Signals(-code).name}"
    return f"the process ended with {code}"
