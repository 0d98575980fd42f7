"""What page histories add to an allocator call: SGLang's own allocators, hooks on and off.

    python -m triage.bench.page_history_cost                    on a CPU
    python -m triage.bench.page_history_cost cuda [SECONDS [CALL]]  on a GPU that has SGLang

One line of JSON for each call the moment it is measured, so that a run that is cut off has told
what it knew; the last line has all. The budget of SECONDS (40; on a CPU of the process's time)
begins behind the imports, and is shared out evenly among the calls.

Bound are the hooks of page histories alone, by SGLang's own registry: the scheduler, which
would take most of the time to import, is not needed. On a CPU Triton's interpreter runs
SGLang's allocation kernels. The time is the calling thread's: on a GPU that of launching, and of
SGLang's own waits in `free`. Turns with and without the hooks alternate; a turn's mean is taken,
so that what is put off is paid. Said is the median of the ratios of neighbouring turns, with the
quartiles, the ratio of the quickest turns, and of what the added time consists: the hooks alone,
the look at the callers, the events' records, and what writes them into the log, a launch on a
GPU (each the median of what a turn with that part too takes longer). Python's collector rests
meanwhile. A process of its own, since SGLang's hooks stay bound. The memory is that of the
dearest pool, in which everything has happened: every page allocated, mapped, inserted and freed,
decode steps of 64 requests, and the events' records on the host.

Long because each call brings the arguments that it needs.
"""

from __future__ import annotations

import gc
import inspect
import json
import pkgutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from triage.bench.bound_forward import Targets
from triage.bench.figure import Figure, at_most

ROWS, PROMPT, PAGE = 64, 4096, 64
FULL_PAGES, SWA_PAGES = 2048, 1024
TURNS = 15
BUDGET_S = 40.0
BAR = 1.05
MOST_BYTES = 64

PARTS = ("hooks", "callers", "events", "written")
"""Of the added time, each on top of those before it; with the last one all is on."""

Part = tuple[str, Callable[[Any], Any]]
"""Name, "" for what is not measured, and what is called with what the part before gave."""


@dataclass(frozen=True)
class Call:
    """Calls of one allocator that follow each other; `calls` times in a turn."""

    allocator: str
    parts: tuple[Part, ...]
    calls: int


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
            f"{each['added_us']:.0f} us more than {each['off_us']:.0f} us, quartiles of the ratio "
            f"{each['quartiles'][0]:.3f} to {each['quartiles'][1]:.3f}, of the quickest turns "
            f"{each['quickest_ratio']:.3f}; "
            + ", ".join(f"{part} {spent:.0f} us" for part, spent in each["parts_us"].items()),
        )
        for name, each in measured["calls"].items()
    ]
    return [
        *found,
        at_most("page histories, memory", measured["bytes_a_page"], MOST_BYTES, "bytes a page"),
    ]


def measure(
    device: str = "cpu",
    budget_s: float = BUDGET_S,
    only: str = "",
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Of every call of `_calls`, or of those that `only` is a part of the name of.

    tell: gets each the moment it is known.
    """
    began = time.monotonic()
    histories, targets, failures = _bound(device)
    tell({"imported_s": round(time.monotonic() - began, 1)})
    clock = _clock(device)
    until, calls = (
        clock() + budget_s,
        [
            each
            for each in _calls(device)
            if any(only in f"{each.allocator}: {name}" for name, _ in each.parts)
        ],
    )
    found: dict[str, Any] = {}
    for number, call in enumerate(calls):
        share = (until - clock()) / (len(calls) - number)
        turns = _turns(targets, call, device, clock() + share)
        for name, each in turns.items():
            found[f"{call.allocator}: {name}"] = each
            if failures:
                raise SystemExit(f"page histories are off: {failures}")
            tell({"call": f"{call.allocator}: {name}", **each})
    _everything(histories, device)
    most = max(each.bytes_held / each.num_pages for each in histories.recorders())
    return {"calls": found, "bytes_a_page": round(most, 2)}


def _clock(device: str) -> Callable[[], float]:
    """Of the budget. On a CPU the process's own: a busy machine makes it no fewer turns."""
    return time.process_time if device == "cpu" else time.monotonic


def _bound(device: str) -> tuple[Any, Targets, dict[str, str]]:
    """The histories, the hooks that feed them, bound as a server's are, and what failed of ours."""
    if device == "cpu":
        from triage.lab import bootstrap

        bootstrap.prepare()
    from sglang.srt.plugins.hook_registry import HookRegistry

    from triage.dump.store import DumpStore
    from triage.sglang.binding.hooks import Binding, register
    from triage.sglang.binding.patches import Patches
    from triage.sglang.state_hooks import StateHooks
    from triage.sglang.traps import Traps

    traps = Traps(DumpStore(Path(tempfile.mkdtemp(prefix="triage-hands-"))), mode="contain")
    hooks = StateHooks(traps, page_history=True)
    outside, inside = hooks.history_hooks()
    bound: list[Binding] = []
    failed: list[Exception] = []
    unlinked = traps.reporter.shells.of("page histories")
    register([*outside, *inside], Patches([]), bound.extend, failed.append, unlinked)
    HookRegistry.apply_hooks()
    missing = [each.target for each in bound if not each.bound]
    if failed or missing or not bound:
        raise SystemExit(f"not bound: {failed or missing or 'nothing'}")
    failures = traps.reporter.shells.failures
    return hooks.histories, Targets([each.target for each in bound]), failures


# -- the calls ------------------------------------------------------------------------------


def _calls(device: str) -> Iterator[Call]:
    """SGLang's own decode kernel is slow where it is interpreted: few calls of it there."""
    often, seldom = (40, 40) if device != "cpu" else (40, 2)
    for allocator, made in (
        (f"SWA, pages of {PAGE}", _hybrid(PAGE, device)),
        (f"one pool, pages of {PAGE}", _alone(PAGE, device)),
    ):
        extend = f"alloc_extend of {PROMPT} tokens", _extend(made, device)
        free = f"free of {PROMPT} tokens", _free(made)
        yield Call(allocator, (extend, free), often)
        yield Call(
            allocator,
            ((f"alloc_decode of {ROWS} rows", _decode(made, device)),
             (f"free of {ROWS} rows", _free(made))),
            seldom,
        )  # fmt: skip
    swa = _hybrid(PAGE, device)
    yield Call(
        f"SWA, pages of {PAGE}",
        (("", _extend(swa, device)), (f"free_swa of {PROMPT} tokens", _swa_side(swa)),
         ("", _free(swa))),
        often,
    )  # fmt: skip
    for allocator, made in (
        ("SWA, pages of 1", _hybrid(1, device)),
        ("one pool, pages of 1", _alone(1, device)),
    ):
        alloc = f"alloc of {PROMPT} slots", _alloc(made)
        yield Call(allocator, (alloc, (f"free of {PROMPT} slots", _free(made))), often)


def _hybrid(page: int, device: str) -> Any:
    """SGLang's own, over a pool of one full layer and five SWA layers."""
    import torch
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    from triage.sglang.binding.names import swa_allocator_class

    size_full, size_swa = FULL_PAGES * PAGE, SWA_PAGES * PAGE
    names = inspect.signature(SWAKVPool.__init__).parameters  # one of them not in every release
    transposed = {"enable_kvcache_transpose": False} if "enable_kvcache_transpose" in names else {}
    pool = SWAKVPool(
        size=size_full,
        size_swa=size_swa,
        page_size=page,
        dtype=torch.float16,
        head_num=1,
        head_dim=8,
        swa_attention_layer_ids=list(range(5)),
        full_attention_layer_ids=[5],
        device=device,
        **transposed,
    )
    return swa_allocator_class()(
        size_full,
        size_swa,
        page_size=page,
        dtype=torch.float16,
        device=device,
        kvcache=pool,
        need_sort=False,
    )


def _alone(page: int, device: str) -> Any:
    """An allocator of one pool, as a model without a window has."""
    import torch

    from triage.sglang.binding.names import sub_allocator_paths

    name = "TokenToKVPoolAllocator" if page == 1 else "PagedTokenToKVPoolAllocator"
    (path,) = (each for each in sub_allocator_paths() if each.endswith(f".{name}"))
    paged = {} if page == 1 else {"page_size": page}
    return pkgutil.resolve_name(path)(
        FULL_PAGES * PAGE,
        dtype=torch.float16,
        device=device,
        kvcache=None,
        need_sort=False,
        **paged,
    )


def _decode(allocator: Any, device: str) -> Callable[[Any], Any]:
    import torch

    given = _lengths([0] * ROWS, [PAGE] * ROWS, device)
    last = allocator.alloc_extend(*given, PAGE * ROWS)[PAGE - 1 :: PAGE]
    on_host = torch.full((ROWS,), PAGE + 1)
    lengths = on_host.to(device)
    return lambda _: allocator.alloc_decode(lengths, on_host, last)


def _extend(allocator: Any, device: str) -> Callable[[Any], Any]:
    given = _lengths([0], [PROMPT], device)
    return lambda _: allocator.alloc_extend(*given, PROMPT)


def _alloc(allocator: Any) -> Callable[[Any], Any]:
    return lambda _: allocator.alloc(PROMPT)


def _free(allocator: Any) -> Callable[[Any], Any]:
    """Looked up at each call: a method that was taken beforehand would keep its hook."""
    return lambda slots: allocator.free(slots)


def _swa_side(allocator: Any) -> Callable[[Any], Any]:
    def free_swa(slots: Any) -> Any:
        allocator.free_swa(slots)
        return slots

    return free_swa


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
        slots = torch.arange(recorder.page_size, recorder.num_pages * recorder.page_size)
        slots = slots.to(device)
        for kind in range(len(KINDS)):
            recorder.note(kind, slots, 1, caller)
        for step in range(ROWS * 8):
            rows = torch.arange(ROWS, device=device)
            recorder.note(0, (rows + step // PAGE + 1) * recorder.page_size, step, caller)


# -- turns ----------------------------------------------------------------------------------


def _turns(targets: Targets, call: Call, device: str, until: float) -> dict[str, dict[str, Any]]:
    """Of each part with a name. Three turns at least, `TURNS` at most, none begun after `until`."""
    import torch

    names, clock = [name for name, _ in call.parts if name], _clock(device)

    def turn(kind: str) -> dict[str, float]:
        targets.set(bound=kind != "off")
        spent = dict.fromkeys(names, 0.0)
        gc.collect()
        with ExitStack() as stack:
            stack.callback(gc.enable)
            gc.disable()  # who is next to be collected would pay for all of SGLang's objects
            for owner, name, instead in _left_out(kind):
                stack.enter_context(mock.patch.object(owner, name, instead))
            for _ in range(call.calls):
                given = None
                for name, part in call.parts:
                    started = time.thread_time()
                    given = part(given)
                    if name:
                        spent[name] += time.thread_time() - started
        if device != "cpu":
            torch.cuda.synchronize()
        return {name: each / call.calls * 1e6 for name, each in spent.items()}

    kinds = ["off", *PARTS]
    taken: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for number in range(-1, TURNS):
        if number >= 3 and clock() > until:
            break
        for kind in kinds if number % 2 else reversed(kinds):
            each = turn(kind)
            if number >= 0:  # the first compiles, and makes the recorders
                taken[kind].append(each)
    targets.set(bound=True)
    return {name: _compared(taken, name) for name in names}


def _left_out(kind: str) -> list[tuple[Any, str, Any]]:
    """What is stubbed in a turn of the parts up to `kind`: owner, name, what stands there."""
    from triage.sglang.allocator import page_histories
    from triage.sglang.allocator.call_sites import Caller, CallSites
    from triage.sglang.allocator.page_log import HostLog

    nobody = Caller(0, None, None)
    callers = (CallSites, "caller", lambda *_: nobody)
    events = (page_histories, "write", lambda *_: None)
    written: list[tuple[Any, str, Any]] = [(HostLog, "add", lambda *_: None)]
    if "triage.device.direct_launches" in sys.modules:
        from triage.device.direct_launches import DirectLaunch

        written.append((DirectLaunch, "__call__", lambda *_: None))
    stubs: dict[str, list[tuple[Any, str, Any]]] = {
        "hooks": [callers, events],
        "callers": [events],
        "events": written,
    }
    return stubs.get(kind, [])


def _compared(taken: dict[str, list[dict[str, float]]], name: str) -> dict[str, Any]:
    each = {kind: [turn[name] for turn in turns] for kind, turns in taken.items()}
    on, off = each[PARTS[-1]], each["off"]
    low, middle, high = statistics.quantiles([a / b for a, b in zip(on, off, strict=True)], n=4)
    steps = zip(["off", *PARTS], PARTS, strict=False)
    return {
        "off_us": round(statistics.median(off), 1),
        "added_us": round(statistics.median([a - b for a, b in zip(on, off, strict=True)]), 1),
        "ratio": round(middle, 4),
        "quickest_ratio": round(min(on) / min(off), 4),
        "quartiles": [round(low, 4), round(high, 4)],
        "parts_us": {
            kind: round(
                statistics.median([a - b for a, b in zip(each[kind], each[below], strict=True)]), 1
            )
            for below, kind in steps
        },
        "turns": len(on),
    }


def main(arguments: list[str]) -> None:
    began = time.monotonic()

    def tell(each: dict[str, Any]) -> None:
        print(json.dumps({"after_s": round(time.monotonic() - began, 1), **each}), flush=True)

    device = arguments[0] if arguments else "cpu"
    budget_s = float(arguments[1]) if len(arguments) > 1 else BUDGET_S
    print(json.dumps(measure(device, budget_s, "".join(arguments[2:3]), tell)))


if __name__ == "__main__":
    main(sys.argv[1:])
