"""What the checks that are on by default beside the cheap families add to a decode step.

    python -m triage.bench.default_checks_cost [contain|raise]      one line of JSON

`ScheduleBatch.prepare_for_decode` of SGLang, 64 requests that go on by a token, one of them
into a new page of both pools, which is then given back. What is added is summed up of its
parts, the quickest of each: the two hooks that the default has there beside the cheap families,
around a function that does nothing in place of SGLang's; of a look at the free lists
(`late_audit.py`), the two pools in turns, the share of one step; and that of a look at the counts
of the pools (`pool_sums.py`). A difference of whole steps, of 200 us each, says the same with an
error of some microseconds, so it stands beside. `Scheduler.run_batch` cannot be imported without a
server's dependencies: its hook is called as it is bound there. `tests/bench/test_default_calls.py`
holds the number of calls that the hooks make. SGLang's allocation kernel is stood in.

On a CPU: a launch is the operation itself here, on small tensors.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any
from unittest import mock

from triage import config
from triage.bench.bound_forward import Targets, load_and_bind
from triage.bench.figure import Figure, at_most
from triage.invariants.catalogue import DEFAULT
from triage.sglang.allocator.late_audit import EVERY, PREPARE
from triage.sglang.allocator.pool_sums import SHARE

ROWS, PAGE = 64, 64
TURNS, TURN = 8, 100
MOST_US = 10.0


def figures(mode: str = "contain") -> list[Figure]:
    us = _measured(mode)
    hooks = us["prepare"] + us["run_batch"]
    look, counts = us["look"] / EVERY, us["counts"] * SHARE / ROWS
    told = (
        f"hooks {hooks:.1f}, a look of {us['look']:.0f} us every {EVERY} steps {look:.1f}, "
        f"counts of the pools of {us['counts']:.0f} us every {-(-ROWS // SHARE)} steps "
        f"{counts:.1f}; SGLang's own {us['off']:.0f} us, {us['on'] - us['off']:.1f} more with the "
        "hook around it"
    )
    name = f"default checks, preparing a decode step, {mode}"
    return [at_most(name, hooks + look + counts, MOST_US, "us", told)]


def _measured(mode: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "triage.bench.default_checks_cost", mode, "measure"],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@dataclass(frozen=True, slots=True)
class Prepared:
    """A process with its hooks bound, and a batch that decodes.

    step: prepares one step as it is bound, and puts back what that took.
    run_batch: the hook of `Scheduler.run_batch` around a function that does nothing.
    """

    installed: Any
    driver: Any
    batch: Any
    step: Callable[[], None]
    run_batch: Callable[[], None]

    def parts(self) -> dict[str, Callable[[], Any]]:
        """What is added up; a look is at both pools."""
        bare, batch, state = emptied(PREPARE), self.batch, self.installed.state_hooks

        def look() -> None:
            for _ in range(2):
                state.audit._look(batch)
                state.audit.tell()

        return {
            "prepare": lambda: bare(batch),
            "run_batch": self.run_batch,
            "look": look,
            "counts": lambda: state.sums.look(batch),
        }


@contextmanager
def prepared(mode: str, checks: str = DEFAULT) -> Iterator[Prepared]:
    """Once a process: SGLang's hooks stay bound."""
    os.environ.update(
        {
            config.DEBUG: "1",
            config.MODE: mode,
            config.CHECKS: checks,
            config.PAGE_HISTORY: "0",
            config.DIRECTORY: tempfile.gettempdir(),
            "SGLANG_PLUGINS": "sglang_triage",
        }
    )
    from triage.lab import bootstrap

    bootstrap.prepare()
    from triage.lab.flashinfer_stub import StandInFlashInfer
    from triage.lab.runtime import Geometry, Runtime

    StandInFlashInfer(lambda call: None).install()
    installed = load_and_bind()
    geometry = Geometry(
        page_size=PAGE,
        swa_pages=1024,
        full_pages=1024,
        window=512,
        num_layers=6,
        full_every=6,
        kv_shared_layers=0,
        context_len=9216,
        max_requests=ROWS,
    )
    runtime = Runtime(geometry, draft_tokens=1, draft_steps=1, draft="none")
    allocator = runtime.token_to_kv_pool_allocator
    driver, batch = _prefilled(runtime)
    driver.running = batch
    state = installed.state_hooks
    state.sums.holders().note(driver)
    run_batch = state.around_run_batch()
    kernels = sys.modules[type(allocator.full_attn_allocator).__module__]
    with mock.patch.object(kernels, "alloc_decode_kernel", _Kernel()):
        yield Prepared(
            installed,
            driver,
            batch,
            _step(batch, allocator),
            lambda: run_batch(_nothing, driver, batch),
        )


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def emptied(target: str) -> Callable[..., Any]:
    """What is bound to a dotted path, around a function that does nothing in SGLang's place."""
    path, _, name = target.rpartition(".")
    bound = inspect.getattr_static(pkgutil.resolve_name(path), name)
    plain, cells = inspect.unwrap(bound), bound.__closure__ or ()
    closure = tuple(CellType(_nothing) if c.cell_contents is plain else c for c in cells)
    return FunctionType(bound.__code__, bound.__globals__, name, None, closure)


def measure(mode: str) -> dict[str, float]:
    """Microseconds of each part, in this process; "on" and "off" of the whole step."""
    with prepared(mode) as here:
        here.installed.state_hooks.audit.every = 1 << 30
        parts = {"on": here.step, "off": here.step, **here.parts()}
        parts["nothing"] = lambda: _nothing(here.batch)
        best = turns(Targets([PREPARE]), parts)
    nothing = best.pop("nothing")
    best["look"] /= 2
    return {name: us - nothing for name, us in best.items()}


def _prefilled(runtime: Any) -> tuple[Any, Any]:
    """64 requests of the lab's driver, the first one at the end of its page."""
    from triage.lab.drivers.schedule_batch import Scheduler
    from triage.lab.scenarios import Scenario
    from triage.lab.steps import NoSteps

    scenario = Scenario(
        name="cost",
        what="rows that decode",
        geometry=runtime.geometry,
        requests=0,
        concurrency=ROWS,
        prompt_tokens=PAGE,
        output_tokens=PAGE,
        chunk=2 * PAGE * ROWS,
        draft="none",
        cache="chunk",
    )
    driver = Scheduler(scenario, runtime, None, 0, NoSteps())
    driver.enqueue(0, PAGE, PAGE)
    for rid in range(1, ROWS):
        driver.enqueue(rid, PAGE // 2, PAGE)
    batch = driver._admit()
    for req in batch.reqs:
        req.output_ids.append(1)
    return driver, batch


class _Kernel:
    """SGLang's `alloc_decode_kernel` for this step: its first row takes the first free page."""

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launch(seq_lens: Any, last_loc: Any, free_pages: Any, out: Any, *rest: Any) -> None:
            out.copy_(last_loc)
            out.add_(1)
            out[0] = free_pages[0] * PAGE

        return launch


def _step(batch: Any, allocator: Any) -> Callable[[], None]:
    import torch

    lengths = batch.seq_lens, batch.seq_lens_cpu, batch.orig_seq_lens
    batch.output_ids = torch.ones(ROWS, dtype=torch.int64)
    batch.sampling_info = mock.Mock(penalizer_orchestrator=mock.Mock(is_required=False))

    counted = ("kv_allocated_len", "kv_committed_len", "decode_batch_idx")
    holders = [(req, getattr(req, "kv", None)) for req in batch.reqs]
    numbers = [
        (holder, name, getattr(holder, name))
        for of_request in holders
        for holder in of_request
        for name in counted
        if hasattr(holder, name)
    ]

    def call() -> None:
        batch.prepare_for_decode()
        allocator.free(batch.out_cache_loc[:1])
        batch.seq_lens, batch.seq_lens_cpu, batch.orig_seq_lens = lengths
        for holder, name, value in numbers:
            setattr(holder, name, value)

    return call


def turns(targets: Targets, parts: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The quickest of each, in microseconds; without the calls that looked."""
    best = dict.fromkeys(parts, float("inf"))
    gc.collect()
    gc.disable()
    for _ in range(TURNS):
        for name, call in parts.items():
            targets.set(bound=name != "off")
            for _ in range(TURN):
                started = time.thread_time()
                call()
                best[name] = min(best[name], (time.thread_time() - started) * 1e6)
    gc.enable()
    targets.set(bound=True)
    return best


if __name__ == "__main__":
    if len(sys.argv) > 2:
        json.dump(measure(sys.argv[1]), sys.stdout)
    else:
        json.dump([each.json() for each in figures(*sys.argv[1:2])], sys.stdout)
    sys.stdout.write("\n")
