"""Tasks of a Ray cluster: one that runs already (`ray://`, RAY_ADDRESS), or one of this machine."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from triage.engines import ATTEMPTS, IN_FLIGHT, EngineError, Lost, Result, Task, processors
from triage.files.text import printable
from triage.files.writing import reason

ADDRESS, TOKENS = "RAY_ADDRESS", "RAY_AUTH_MODE"
ANSWERS_WITHIN_S = 5.0
_STORE_BYTES = 200 << 20  # of a cluster of our own; tasks and answers are kilobytes


class Ray:
    """Ray's workers.

    Args:
        workers: tasks at a time; None for as many as the cluster has processors.
        address: of a cluster, as `ray.init` takes it; RAY_ADDRESS where it is empty. With
            neither a cluster of this machine is started, and ended by `close`. Whether it asks for
            a token is Ray's matter (RAY_AUTH_MODE; newer releases make one for their own).
        gpus: of each task (`num_gpus`): Ray gives a task that asks for one a GPU that no other has.
    Raises:
        EngineError: no cluster answers there.
    """

    name = "ray"

    def __init__(self, workers: int | None = None, *, address: str = "", gpus: float = 0) -> None:
        # Ray reports usage to its makers unless it is told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # It tells of a worker that died on standard output, among what `--json` prints.
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        import ray

        self._ray: Any = ray
        self._gpus = gpus
        self._address = address or os.environ.get(ADDRESS, "")
        self._connected = not ray.is_initialized()
        _refuse_silence(self._address)
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self._address:
                ray.init(address=self._address, ignore_reinit_error=True, **quiet)
            else:
                ray.init(
                    num_cpus=workers or processors(),
                    include_dashboard=False,
                    object_store_memory=_STORE_BYTES,
                    **quiet,
                )
            self.workers = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        except Exception as error:  # Ray's own families are many, and none tells more
            first = printable(next(iter(str(error).splitlines()), type(error).__name__))[:300]
            where = f"at {self._address!r}" if self._address else "of this machine"
            if self._address and not os.environ.get(TOKENS):
                first += f" (one that asks for a token, as new ones do, wants {TOKENS}=token here)"
            raise EngineError(
                f"no Ray cluster {where}: {first}; --engine local needs none"
            ) from error

        have = float(ray.cluster_resources().get("GPU", 0))
        if gpus > have:
            self.close()
            raise EngineError(f"each task asks for {gpus:g} GPUs, and the cluster has {have:g}")

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | Lost]]:
        ray = self._ray
        remote = ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=0)(function)
        waiting, again = iter(tasks), deque[tuple[Task, int]]()
        running: dict[Any, tuple[Task, int]] = {}
        died = (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.ObjectLostError,
        )
        try:
            while True:
                while len(running) < self.workers * IN_FLIGHT:
                    if again:
                        task, attempt = again.popleft()
                    else:
                        try:
                            task, attempt = next(waiting), 1
                        except StopIteration:
                            break
                    running[remote.remote(task)] = (task, attempt)
                if not running:
                    return
                ended, _ = ray.wait(list(running), num_returns=1)
                for reference in ended:
                    task, attempt = running.pop(reference)
                    try:
                        answer = ray.get(reference)
                    except died:  # each task has its worker alone: no other is suspected
                        if attempt < ATTEMPTS:
                            again.append((task, attempt + 1))
                        else:
                            yield task, Lost(f"its worker died {ATTEMPTS} times, alone with it")
                        continue
                    except ray.exceptions.RayTaskError as error:
                        raise _own(error) from error
                    yield task, answer
                    del answer, reference
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def close(self) -> None:
        if self._connected:
            self._ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Ray itself tries for minutes where nobody listens. Raises EngineError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # "auto", or a name that Ray looks up
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"no Ray cluster at {address!r}: {reason(error)}; --engine local needs none"
        ) from error


def _own(error: Any) -> BaseException:
    """What the function raised, as it raised it; where the cluster lacks us, a sentence."""
    cause = error.cause if isinstance(error.cause, BaseException) else error
    if isinstance(cause, ModuleNotFoundError) and (cause.name or "").startswith("triage"):
        return EngineError(
            "the workers of the cluster have no sglang-triage: install the same release there"
        )
    return cause
