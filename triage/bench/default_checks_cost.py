"""What the checks that are on by default beside the cheap families add to a decode step.

    python -m triage.bench.default_checks_cost [contain|raise]      one line of JSON

`ScheduleBatch.prepare_for_decode` of SGLang, 64 requests that go on by a token, one of them
into a new page of both pools, which is then given back. Two processes, with the cheap families
and with the default, each with its hooks on and off in turns, the quickest call of each, as in
`bound_forward`; the difference of the differences is what the default adds, and of the quickest
look at the free lists (`late_audit.py`) the share of one step, and of the quickest look at the
counts of the pools (`pool_sums.py`). `bound_forward` has the rest of a forward. SGLang's
allocation kernel is stood in.

On a CPU: a launch is the operation itself here, on small tensors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

from triage import config
from triage.bench.bound_forward import Targets, load_and_bind
from triage.bench.figure import Figure, at_most
from triage.invariants.catalogue import CHEAP_FAMILIES, DEFAULT
from triage.sglang.allocator.late_audit import EVERY
from triage.sglang.allocator.pool_sums import SHARE

ROWS, PAGE = 64, 64
TURNS, TURN = 8, 100
MOST_US = 10.0


def figures(mode: str = "contain") -> list[Figure]:
    cheap, default = (_measured(mode, each) for each in (",".join(CHEAP_FAMILIES), DEFAULT))
    hooks = (default["on_us"] - default["off_us"]) - (cheap["on_us"] - cheap["off_us"])
    look = default["look_us"] / EVERY
    counts = default["counts_us"] * SHARE / ROWS
    told = (
        f"hooks {hooks:.1f}, a look of {default['look_us']:.0f} us every {EVERY} steps {look:.1f}, "
        f"counts of the pools of {default['counts_us']:.0f} us every {ROWS // SHARE} steps "
        f"{counts:.1f}; SGLang's own {default['off_us']:.0f} us"
    )
    name = f"default checks, preparing a decode step, {mode}"
    return [at_most(name, hooks + look + counts, MOST_US, "us", told)]


def _measured(mode: str, checks: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "triage.bench.default_checks_cost", mode, checks],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(mode: str, checks: str) -> dict[str, float]:
    """Microseconds of the step, hooks on and off, in this process."""
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
    targets = Targets([each.target for each in installed.bindings])
    allocator = runtime.token_to_kv_pool_allocator
    driver, batch = _prefilled(runtime)
    driver.running = batch
    kernels = sys.modules[type(allocator.full_attn_allocator).__module__]
    with mock.patch.object(kernels, "alloc_decode_kernel", _Kernel()):
        audit, sums = installed.state_hooks.audit, installed.state_hooks.sums
        sums.holders().note(driver)

        def look() -> None:
            audit._look(batch)
            audit.tell()

        def counts() -> None:
            sums._known = 0
            sums.at_step(batch)

        return turns(targets, _step(batch, allocator), {"look_us": look, "counts_us": counts})


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

    def call() -> None:
        batch.prepare_for_decode()
        allocator.free(batch.out_cache_loc[:1])
        batch.seq_lens, batch.seq_lens_cpu, batch.orig_seq_lens = lengths

    return call


def turns(
    targets: Targets, call: Callable[[], None], looks: dict[str, Callable[[], None]]
) -> dict[str, float]:
    """The quickest of each, in microseconds; without the calls that looked."""
    best = dict.fromkeys(("on_us", "off_us", *looks), float("inf"))
    for _ in range(TURNS):
        for name in best:
            targets.set(bound=name == "on_us")
            for _ in range(TURN):
                started = time.thread_time()
                looks.get(name, call)()
                best[name] = min(best[name], (time.thread_time() - started) * 1e6)
    targets.set(bound=True)
    return best


if __name__ == "__main__":
    if len(sys.argv) > 2:
        json.dump(measure(*sys.argv[1:3]), sys.stdout)
    else:
        json.dump([each.json() for each in figures(*sys.argv[1:2])], sys.stdout)
    sys.stdout.write("\n")
