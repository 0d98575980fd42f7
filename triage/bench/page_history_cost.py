"""What page histories add to an allocator call: SGLang's own SWA allocator, hooks on and off.

    python -m triage.bench.page_history_cost            one line of JSON, on a CPU
    python -m triage.bench.page_history_cost cuda       on a GPU, under a real SGLang

On a CPU Triton's interpreter runs SGLang's allocation kernels. The time is the calling thread's,
which on a GPU is that of launching: nothing there waits within a turn. Turns with and without the
hooks alternate; a turn's mean is taken, so that what is put off is paid. Said is the median of
the ratios of neighbouring turns, with the quartiles; beside it that of the hooks alone, whose
recorder and look at the callers do nothing. A process of its own, since SGLang's hooks stay
bound. The memory is that of pools in which everything has happened: every page allocated,
mapped, inserted and freed, decode steps of 64 requests, and the events' records on the host.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

from triage import config
from triage.bench.bound_forward import Targets, load_and_bind
from triage.bench.figure import Figure, at_most

ROWS, PROMPT, PAGE = 64, 4096, 64
FULL_PAGES, SWA_PAGES = 2048, 1024
TURNS, TURN = 15, 40
DECODE_TURNS, DECODE_TURN = 3, 2  # SGLang's own decode kernel is interpreted there
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
            each["ratio"],
            BAR,
            "x",
            f"{each['on_us']:.0f} beside {each['off_us']:.0f} us, quartiles of the ratio "
            f"{each['quartiles'][0]:.3f} to {each['quartiles'][1]:.3f}, hooks alone "
            f"{each['hooks_ratio']:.3f}",
        )
        for name, each in measured["calls"].items()
    ]
    return [
        *found,
        at_most("page histories, memory", measured["bytes_a_page"], MOST_BYTES, "bytes a page"),
    ]


def measure(device: str = "cpu") -> dict[str, Any]:
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
    if device == "cpu":
        from triage.lab import bootstrap

        bootstrap.prepare()
        from triage.lab.flashinfer_stub import StandInFlashInfer

        StandInFlashInfer(lambda call: None).install()
    installed = load_and_bind()
    allocator = _allocator(device)
    targets = Targets([each.target for each in installed.bindings if "whose hand" in each.why])
    interpreted = device == "cpu"
    calls = (
        (f"alloc_decode of {ROWS} rows and its free", _decode(allocator, device), interpreted),
        (f"alloc_extend of {PROMPT} tokens and its free", _extend(allocator, device), False),
    )
    turns = {
        name: _turns(
            targets, call, *((DECODE_TURNS, DECODE_TURN) if slow else (TURNS, TURN)), device
        )
        for name, call, slow in calls
    }
    histories = installed.state_hooks.histories
    _everything(histories, device)
    pages, size = histories.memory()
    return {"calls": turns, "bytes_a_page": size / pages}


def _allocator(device: str) -> Any:
    """SGLang's own, over a pool of one full layer and five SWA layers."""
    import torch
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    from triage.lab.runtime import accepted
    from triage.sglang.binding.names import swa_allocator_class

    size_full, size_swa = FULL_PAGES * PAGE, SWA_PAGES * PAGE
    pool = SWAKVPool(
        size=size_full,
        size_swa=size_swa,
        page_size=PAGE,
        dtype=torch.float16,
        head_num=1,
        head_dim=8,
        swa_attention_layer_ids=list(range(5)),
        full_attention_layer_ids=[5],
        device=device,
        **accepted(SWAKVPool.__init__, enable_kvcache_transpose=False),
    )
    return swa_allocator_class()(
        size_full,
        size_swa,
        page_size=PAGE,
        dtype=torch.float16,
        device=device,
        kvcache=pool,
        need_sort=False,
    )


def _decode(allocator: Any, device: str) -> Callable[[], None]:
    import torch

    given = _lengths([0] * ROWS, [PAGE] * ROWS, device)
    last = allocator.alloc_extend(*given, PAGE * ROWS)[PAGE - 1 :: PAGE]
    on_host = torch.full((ROWS,), PAGE + 1)
    lengths = on_host.to(device)

    def call() -> None:
        allocator.free(allocator.alloc_decode(lengths, on_host, last))

    return call


def _extend(allocator: Any, device: str) -> Callable[[], None]:
    given = _lengths([0], [PROMPT], device)

    def call() -> None:
        allocator.free(allocator.alloc_extend(*given, PROMPT))

    return call


def _lengths(prefix: list[int], lengths: list[int], device: str) -> tuple[Any, ...]:
    """prefix_lens, prefix_lens_cpu, seq_lens, seq_lens_cpu, last_loc."""
    import torch

    before, after = torch.tensor(prefix), torch.tensor(lengths)
    last_loc = torch.full((len(prefix),), -1, device=device)
    return before.to(device), before, after.to(device), after, last_loc


def _everything(histories: Any, device: str) -> None:
    """Every kind of event for every page of every pool, and decode steps of one batch."""
    import torch

    from triage.sglang.allocator.call_sites import Caller
    from triage.sglang.allocator.page_recorder import KINDS

    requests = [type("Request", (), {"rid": f"request-{number}"})() for number in range(ROWS)]
    caller = Caller(1, None, type("Batch", (), {"reqs": requests})())
    for recorder in histories.recorders():
        slots = torch.arange(PAGE, recorder.num_pages * PAGE, device=device)
        for kind in range(len(KINDS)):
            recorder.note(kind, slots, 1, caller)
        for step in range(ROWS * 8):
            rows = torch.arange(ROWS, device=device)
            recorder.note(0, (rows + step // PAGE + 1) * PAGE, step, caller)


def _turns(
    targets: Targets, call: Callable[[], None], turns: int, calls: int, device: str
) -> dict[str, Any]:
    import torch

    from triage.sglang.allocator.call_sites import Caller, CallSites
    from triage.sglang.allocator.page_recorder import PageRecorder

    nobody = Caller(0, None, None)

    def turn(what: str) -> float:
        targets.set(bound=what != "off")
        with ExitStack() as stack:
            if what == "hooks":
                stack.enter_context(mock.patch.object(PageRecorder, "note", lambda *_: None))
                stack.enter_context(mock.patch.object(CallSites, "caller", lambda _: nobody))
            started = time.thread_time()
            for _ in range(calls):
                call()
            spent = (time.thread_time() - started) / calls * 1e6
        if device != "cpu":
            torch.cuda.synchronize()
        return spent

    kinds = ["on", "hooks", "off"]
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(-1, turns):
        for kind in kinds if number % 2 else reversed(kinds):
            each = turn(kind)
            if number >= 0:
                taken[kind].append(each)
    targets.set(bound=True)
    ratios = [on / off for on, off in zip(taken["on"], taken["off"], strict=True)]
    hooks = [alone / off for alone, off in zip(taken["hooks"], taken["off"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "on_us": statistics.median(taken["on"]),
        "off_us": statistics.median(taken["off"]),
        "ratio": middle,
        "quartiles": [low, high],
        "hooks_ratio": statistics.median(hooks),
    }


if __name__ == "__main__":
    json.dump(measure(*sys.argv[1:]), sys.stdout)
    sys.stdout.write("\n")
