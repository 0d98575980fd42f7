"""Where much work runs: this process, processes of this machine, or a Ray cluster.

One promise for all three: `map` calls a function once for each task whose answer it gives,
answers come as they are ready, at most a few tasks a worker are under way at a time (so a
million of them need no more memory than ten), and a worker that dies takes no answer with it:
what it held is run again, alone, so that a task which kills its worker is told from those that
ran beside it. Only such a task has no answer: it is `Lost`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from triage.errors import TriageError

Task = TypeVar("Task")
Result = TypeVar("Result")

NAMES = ("local", "ray")
IN_FLIGHT = 2
"""Tasks a worker that are under way: one that runs, one that waits for it."""

ATTEMPTS = 3
"""How often a task may see its worker die, the last times alone, before it is lost."""


class EngineError(TriageError):
    """The work cannot run where it was asked to: names what is missing or does not answer."""


@dataclass(frozen=True, slots=True)
class Lost:
    """In place of an answer: the worker died each time that it had the task."""

    reason: str


class Engine(Protocol):
    """`name` is one of `NAMES`, or "inline"; `workers` how many tasks run at a time."""

    name: str
    workers: int

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | Lost]]:
        """(task, answer) as they are ready, in any order. Tasks are taken as workers free up.

        function: a module's own; it and its tasks can be pickled. What it raises is raised here.
        """
        ...

    def close(self) -> None:
        """End the workers that were started. What runs elsewhere already is left alone."""
        ...


class Inline:
    """In this very process, one task after the other."""

    name, workers = "inline", 1

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | Lost]]:
        for task in tasks:
            yield task, function(task)

    def close(self) -> None:
        """Nothing was started."""


def engine(name: str = "local", workers: int | None = None, **options: Any) -> Engine:
    """The engine called `name`.

    Args:
        workers: tasks at a time; the processors of this machine where it is not given, those of
            the cluster for an existing one.
        options: of `triage.engines.on_ray.Ray`: `address`, `gpus`.
    Raises:
        EngineError: it is not one of `NAMES`, or cannot be reached.
    """
    if name == "local":
        from triage.engines.local import Local

        return Local(workers or processors())
    if name == "ray":
        from triage.engines.on_ray import Ray

        return Ray(workers, **options)
    raise EngineError(f"unknown engine {name!r}; known: {', '.join(NAMES)}")


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
