"""What page histories add to an allocator call: SGLang's own SWA allocator, hooks on and off.

    python -m triage.bench.page_history_cost      one line of JSON

On a CPU, where SGLang's two allocation kernels are its own plain versions; in turns, the
quickest of each, as in `bound_forward`. A process of its own, since SGLang's hooks stay bound.
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

from triage import config
from triage.bench.bound_forward import Targets, load_and_bind
from triage.bench.figure import Figure, at_most

ROWS, PROMPT, PAGE = 64, 4096, 64
TURNS, TURN = 6, 12
BAR = 1.05
MOST_BYTES = 64


def figures() -> list[Figure]:
    done = subprocess.run(
        [sys.executable, "-m", __name__], capture_output=True, text=True, check=True, timeout=600
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    found = [
        at_most(
            f"page histories, {name}",
            each["on_us"] / each["off_us"],
            BAR,
            "x",
            f"{each['on_us']:.0f} beside {each['off_us']:.0f} us",
        )
        for name, each in measured["calls"].items()
    ]
    return [
        *found,
        at_most("page histories, memory", measured["bytes_a_page"], MOST_BYTES, "bytes a page"),
    ]


def measure() -> dict[str, Any]:
    """Of a decode step's allocation and a prompt's, each with the free that follows it."""
    os.environ.update(
        {
            config.DEBUG: "1",
            config.MODE: "contain",
            config.CHECKS: "I1",
            config.PAGE_HISTORY: "1",
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
        full_pages=2048,
        window=512,
        num_layers=6,
        full_every=6,
        kv_shared_layers=0,
        context_len=PROMPT + PAGE,
        max_requests=ROWS,
    )
    runtime = Runtime(geometry, draft_tokens=1, draft_steps=1, draft="none")
    allocator = runtime.token_to_kv_pool_allocator
    targets = Targets([each.target for each in installed.bindings if "whose hand" in each.why])
    calls = {
        f"alloc_decode of {ROWS} rows and its free": _decode(allocator),
        f"alloc_extend of {PROMPT} tokens and its free": _extend(allocator),
    }
    turns = {name: _turns(targets, call) for name, call in calls.items()}
    pages, size = installed.state_hooks.histories.memory()
    return {"calls": turns, "bytes_a_page": size / pages}


def _decode(allocator: Any) -> Callable[[], None]:
    import torch

    first = allocator.alloc_extend(*_lengths([0] * ROWS, [PAGE] * ROWS), PAGE * ROWS)
    last = first[PAGE - 1 :: PAGE]
    lengths = torch.full((ROWS,), PAGE + 1)

    def call() -> None:
        allocator.free(allocator.alloc_decode(lengths, lengths, last))

    return call


def _extend(allocator: Any) -> Callable[[], None]:
    given = _lengths([0], [PROMPT])

    def call() -> None:
        allocator.free(allocator.alloc_extend(*given, PROMPT))

    return call


def _lengths(prefix: list[int], lengths: list[int]) -> tuple[Any, ...]:
    """prefix_lens, prefix_lens_cpu, seq_lens, seq_lens_cpu, last_loc."""
    import torch

    before, after = torch.tensor(prefix), torch.tensor(lengths)
    return before, before, after, after, torch.full((len(prefix),), -1)


def _turns(targets: Targets, call: Callable[[], None]) -> dict[str, float]:
    best = {"on_us": float("inf"), "off_us": float("inf")}
    for _ in range(TURNS):
        for name in best:
            targets.set(bound=name == "on_us")
            for _ in range(TURN):
                started = time.thread_time()
                call()
                best[name] = min(best[name], (time.thread_time() - started) * 1e6)
    targets.set(bound=True)
    return best


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
    sys.stdout.write("\n")
