"""Where the lab's observers stand in a server: outside everything, bound as late as possible.

Plugins are called before SGLang's modules are complete, and what is bound first lies
innermost. An observer has to see a launch before any check redirects or stops it. So it
waits: the first SWAKVPool is built after every plugin's hooks are applied and before
any attention backend exists. At that moment the observers bind, outermost.

    pools       the SWA pools of this process, as they are built
    scheduler   the process's scheduler, once it has launched a step
    step        the step that is being launched, None outside one
    role        "draft" while a draft worker drafts, else "target"
    now         the step that what happens now belongs to: the one that is planned, launched or
                whose result is processed

Steps are counted like SGLang's `forward_ct`, one a call of `Scheduler.run_batch`. What an
observer copied during step N is looked at when the result of N is about to be
processed, before anybody else looks at it: see `Observer.settle`.

Long because the moments of one step, and who is told of them, are one order of events.
"""

from __future__ import annotations

import functools
import json
import os
import time
import zlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

AT_ONCE = 64
"""Steps whose results are awaited; overlap scheduling has two."""


@dataclass(slots=True)
class Row:
    """One request of a step, in batch order. `ended`: before the step's result was processed."""

    request: Any
    slot: int  # its row of req_to_token

    @property
    def rid(self) -> str:
        return str(getattr(self.request, "rid", ""))

    @property
    def prompt(self) -> int:
        """CRC of the prompt's ids: the same request of another run has the same."""
        ids = getattr(self.request, "origin_input_ids", None)
        return zlib.crc32(array("q", ids or ()).tobytes())

    @property
    def ended(self) -> bool:
        """SGLang's own words: such a row is passed over when the result is processed."""
        finished = getattr(self.request, "finished", None)
        return bool(finished and finished()) or bool(getattr(self.request, "is_retracted", False))


@dataclass(slots=True)
class Step:
    """One call of `Scheduler.run_batch`. `copies`: what observers took, judged in `settle`.

    at_launch: what an observer took of the device's books before the launch, if one did.
    """

    number: int
    rows: list[Row]
    copies: list[Any] = field(default_factory=list)
    at_launch: Any = None


class Observer:
    """Override what is of interest. Nothing may raise into the server: `Moments` catches."""

    def bind(self, moments: Moments) -> None:
        """Every hook of others is in place. Once."""

    def begin(self, step: Step) -> None:
        """A step is about to be launched."""

    def drafted(self, step: Step, batch: Any, proposal: Any) -> None:
        """A draft worker returned `proposal`, SGLang's verify input, for `batch`."""

    def settle(self, step: Step) -> None:
        """The step's result is about to be processed; the device has done its work by then."""

    def raised(self, step: Step, place: str, error: BaseException) -> None:
        """`error` left the step: its "plan", its "launch", or the processing of its "result"."""


class Moments:
    """The observers of one process and the moments they are told of. One thread."""

    def __init__(self) -> None:
        self.observers: list[Observer] = []
        self.pools: list[Any] = []
        self.scheduler: Any = None
        self.step: Step | None = None
        self.role = "target"
        self.steps = self.now = 0
        self._waiting: dict[int, tuple[Any, Step]] = {}
        self._bound = False

    # -- binding -----------------------------------------------------------------------

    def install(self) -> None:
        """Wait for the first SWAKVPool. Call it from a plugin; again does nothing."""
        if getattr(self, "_installed", False):
            return
        self._installed = True
        from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

        wrap(SWAKVPool, "__init__", self._pool_built)

    def _pool_built(self, original: Any, pool: Any, *args: Any, **kwargs: Any) -> None:
        original(pool, *args, **kwargs)
        self.pools.append(pool)
        if not self._bound:
            self._bound = True
            try:
                self._bind_scheduler()
            except Exception as error:  # an observer changes nothing in the server
                complain(f"no scheduler to observe: {type(error).__name__}: {error}")
            self._tell("bind", self)

    def _bind_scheduler(self) -> None:
        try:
            from sglang.srt.managers.scheduler import Scheduler
        except ImportError:  # the CPU lab has no server; its test plays the steps itself
            return
        wrap(Scheduler, "get_next_batch_to_run", self._plan)
        wrap(Scheduler, "run_batch", self._run_batch)
        wrap(Scheduler, "process_batch_result", self._process_batch_result)
        for worker in _draft_workers():
            wrap(worker, "draft", self._draft)

    # -- a step ------------------------------------------------------------------------

    def begin(self, requests: list[Any]) -> Step:
        self.steps += 1
        self.now = self.steps
        rows = [Row(each, int(_or(getattr(each, "req_pool_idx", None), 0))) for each in requests]
        self.step = Step(self.steps, rows)
        self._tell("begin", self.step)
        return self.step

    def launched(self, step: Step, result: Any) -> None:
        self.step = None
        if result is not None:
            self._waiting[id(result)] = (result, step)
            if len(self._waiting) > AT_ONCE:  # results that nobody processes
                del self._waiting[next(iter(self._waiting))]

    def settle(self, step: Step) -> None:
        self._tell("settle", step)
        step.copies.clear()

    def plan(self) -> None:
        """The next step is about to be planned: rows and pages are given to its requests."""
        self.now = self.steps + 1

    def _plan(self, original: Any, scheduler: Any, *a: Any, **k: Any) -> Any:
        self.plan()
        try:
            return original(scheduler, *a, **k)
        except BaseException as error:  # noted, whatever it is, and raised again
            self._tell("raised", Step(self.now, []), "plan", error)
            raise

    def _run_batch(self, original: Any, scheduler: Any, batch: Any, *a: Any, **k: Any) -> Any:
        self.scheduler = scheduler
        step = self.begin(list(getattr(batch, "reqs", None) or ()))
        try:
            result = original(scheduler, batch, *a, **k)
        except BaseException as error:  # noted, whatever it is, and raised again
            # A check raised before a launch: what was copied is the evidence, and nobody
            # will process a result.
            self.step = None
            self.settle(step)
            self._tell("raised", step, "launch", error)
            raise
        self.launched(step, result)
        return result

    def _process_batch_result(
        self, original: Any, scheduler: Any, batch: Any, result: Any, *a: Any, **k: Any
    ) -> Any:
        _, step = self._waiting.pop(id(result), (None, None))
        if step is None:
            return original(scheduler, batch, result, *a, **k)
        self.settle(step)
        self.now = step.number
        try:
            return original(scheduler, batch, result, *a, **k)
        except BaseException as error:  # noted, whatever it is, and raised again
            self._tell("raised", step, "result", error)
            raise

    def _draft(self, original: Any, worker: Any, batch: Any, *a: Any, **k: Any) -> Any:
        before, self.role = self.role, "draft"
        try:
            proposal = original(worker, batch, *a, **k)
        finally:
            self.role = before
        if self.step is not None:
            self._tell("drafted", self.step, batch, proposal)
        return proposal

    def _tell(self, name: str, *arguments: Any) -> None:
        for observer in self.observers:
            try:
                getattr(observer, name)(*arguments)
            except Exception as error:  # an observer must never end the server it watches
                complain(f"{type(observer).__name__}.{name}: {type(error).__name__}: {error}")


_moments: Moments | None = None


def moments() -> Moments:
    """Those of this process."""
    global _moments
    if _moments is None:
        _moments = Moments()
    return _moments


def observe(observer: Observer) -> None:
    """Have `observer` told of everything from the first pool on. Call it from a plugin."""
    mine = moments()
    mine.observers.append(observer)
    mine.install()


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """`owner.name(*a)` becomes `around(original, *a)`."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(owner, name, wrapper)


def side_copy(tensor: Tensor) -> Tensor:
    """A copy on the host, queued on the current stream. Illegal in a capture; does not wait."""
    if tensor.is_cuda:
        return tensor.detach().to("cpu", non_blocking=True)
    return tensor.detach().clone()


def capturing() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


class Lines:
    """A file of JSON lines, each written whole and at once: the process may die any moment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, kind: str, **values: Any) -> None:
        line = {"kind": kind, "pid": os.getpid(), "time": round(time.time(), 3), **values}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """Its lines; a last one that was cut off is left out."""
        found = []
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found


def complain(sentence: str) -> None:
    print(f"lab observer: {sentence}", flush=True)


def _draft_workers() -> list[Any]:
    """Classes that draft, as far as this release has them and they can be imported."""
    import importlib

    found = []
    for module, name in (
        ("frozen_kv_mtp_worker_v2", "FrozenKVMTPDraftWorker"),
        ("eagle_worker_v2", "EagleDraftWorker"),
    ):
        try:
            owner = getattr(importlib.import_module(f"sglang.srt.speculative.{module}"), name)
        except (ImportError, AttributeError):
            continue
        if "draft" in vars(owner):
            found.append(owner)
    return found


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
