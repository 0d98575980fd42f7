"""What modes `contain` and `log` cost on the host, at the hooks as SGLang binds them.

One eager forward of 42 layers, on against off: metadata, 42 entries of the backend with
a FlashInfer call each, 24 writes, mark and release. The kernels' launches are replaced
by a no-op that is counted, since the interpreter's own time says nothing about a GPU.
A graph replay is metadata, mark and release alone. Beside it what others pay, counted
or read: the naive per-layer trap here, kv_canary from its source.
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from triage.bench.figure import Figure, at_most
from triage.bench.trap_cost import LAYERS, WINDOW, Step
from triage.call import DECODE
from triage.sglang.attention import AttentionHooks
from triage.sglang.sizing import lane_bytes, lanes_of, ring_length
from triage.sglang.writes import WriteTrap
from triage.store import DumpStore
from triage.syncs import SyncCounts, count_syncs
from triage.traps import Traps

KERNELS = {
    "check": "triage.device.check_table_kernel",
    "write check": "triage.device.check_writes_kernel",
    "record": "triage.recorder.record_kernel",
}
OWN_KV_LAYERS = 24
FORWARD_US, REPLAY_US = 80, 20


def hooked(original: Callable[..., Any], hook: Callable[..., Any]) -> Callable[..., Any]:
    """As SGLang's HookRegistry wraps an AROUND hook."""

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return hook(original, *args, **kwargs)

    return wrapper


class Forward:
    """The calls of one decode forward; `watched` puts the hooks around them."""

    def __init__(self, step: Step, traps: Traps | None) -> None:
        self.step, self.traps = step, traps
        self.loc = step.backend.req_to_token[1:, step.length - 1].to(torch.int64)
        self.batch = SimpleNamespace(
            forward_mode=SimpleNamespace(
                name="DECODE", is_decode=lambda: True, is_target_verify=lambda: False
            ),
            batch_size=step.rows,
            req_pool_indices=torch.arange(1, step.rows + 1, device=step.device),
            out_cache_loc=self.loc,
        )
        self.launch: Callable[..., Any] = lambda **arguments: None
        self.write: Callable[..., Any] = lambda pool, layer, loc_info, k, v: None
        self.metadata: Callable[..., Any] = lambda backend, batch: None
        self.enter: Callable[..., Any] = self._layer
        if traps is not None:
            hooks = AttentionHooks(traps)
            self.launch = hooked(self.launch, hooks.launch(DECODE))
            self.write = hooked(self.write, WriteTrap(traps).around)
            self.metadata = hooked(self.metadata, hooks.metadata_built)
            self.enter = hooked(self._layer, hooks.entered)

    def _layer(self, backend: Any, q: Any, k: Any, v: Any, layer: Any, batch: Any) -> None:
        if layer.layer_id < OWN_KV_LAYERS:
            where = SimpleNamespace(loc=self.loc, swa_loc=None)
            self.write(backend.token_to_kv_pool, layer, where, k, v)
        self.launch(**layer.arguments)

    def run(self) -> None:
        backend = self.step.backend
        begun = self.traps.steps.begin() if self.traps is not None else 0
        self.metadata(backend, self.batch)
        backend.forward_metadata = SimpleNamespace(
            page_table=self.step.full, swa_page_table=self.step.swa
        )
        for layer, call in self.step.calls:
            layer.arguments = call.arguments
            self.enter(backend, None, None, None, layer, self.batch)
        self._close(begun)

    def replay(self) -> None:
        begun = self.traps.steps.begin() if self.traps is not None else 0
        self.metadata(self.step.backend, self.batch)
        self._close(begun)

    def _close(self, begun: int) -> None:
        if self.traps is not None:
            self.traps.steps.forward_done()
            self.traps.steps.release(begun)


class _Counted:
    """Stands in for a Triton kernel: takes a grid and arguments, and is counted."""

    def __init__(self, name: str, counts: SyncCounts | None) -> None:
        self.name, self.counts = name, counts

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return self._launch

    def _launch(self, *args: Any, **kwargs: Any) -> None:
        if self.counts is not None:
            self.counts.launched(self.name)


@contextmanager
def no_kernels(counts: SyncCounts | None = None) -> Iterator[None]:
    """Inside, launching one of our kernels does nothing but be counted."""
    with ExitStack() as stack:
        for name, target in KERNELS.items():
            stack.enter_context(mock.patch(target, _Counted(name, counts)))
        yield


def armed(step: Step, mode: str) -> Traps:
    """Traps in `mode` over the backend of `step`, its kernels launched as on a GPU."""
    traps = Traps(DumpStore(Path(tempfile.gettempdir())), mode=mode)
    traps.note_backend(step.backend, SimpleNamespace(sliding_window_size=WINDOW - 1))
    traps.watching.heartbeat = 1 << 60  # no kernel runs, so none is heard
    traps.watching.prepare(step.backend)
    watch = traps.watching.watch
    assert watch is not None and watch.recorder is not None
    watch.checker._eager = watch.recorder._eager = False
    return traps


def figures() -> list[Figure]:
    step = Step()
    off = Forward(step, None)
    found = [Figure("host time per forward, hooks that do nothing", _floor_us(step, off), "us")]
    for mode in ("contain", "log"):
        on = Forward(step, armed(step, mode))
        with no_kernels():
            forward = _difference_us(on.run, off.run)
            replay = _difference_us(on.replay, off.replay)
        with count_syncs(forbid=True) as counts, no_kernels(counts):
            on.run()
        launches = {name: counts.launches[name] for name in KERNELS}
        ours = f"{LAYERS} layers: hooks, 2 checks, 1 write check, 2 records, mark; on - off"
        found += [
            at_most(
                f"host time per forward, {LAYERS} layers, {mode}", forward, FORWARD_US, "us", ours
            ),
            at_most(f"host time per graph replay, {mode}", replay, REPLAY_US, "us"),
            at_most(
                f"host reads per forward, {mode}",
                counts.total_host_reads,
                0,
                "reads",
                f"naive per-layer trap {2 * LAYERS}",
            ),
            at_most(f"table checks per forward, {mode}", launches["check"], 2, "", str(launches)),
        ]
    return [*found, _memory(), _off()]


_PLUGIN = """
import collections.abc, dataclasses, logging, os, pathlib, time, typing
started = time.process_time()
import triage.plugin
triage.plugin.register()
print(time.process_time() - started)
"""


def _off() -> Figure:
    """Loading and calling the plugin where nothing is asked for; CPU time."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SGLANG_")}
    command = [sys.executable, "-c", _PLUGIN]
    spent = [
        float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
        for _ in range(7)
    ]
    return at_most("plugin load and call, nothing asked for", min(spent) * 1e3, 2, "ms")


def _floor_us(step: Step, off: Forward) -> float:
    """What SGLang's own wrapping of these targets costs before a hook of ours does a thing."""
    idle = Forward(step, None)

    def go_on(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    for name in ("launch", "write", "metadata", "enter"):
        setattr(idle, name, hooked(getattr(idle, name), go_on))
    return _difference_us(idle.run, off.run)


def _memory() -> Figure:
    """The recorder's host memory at 256 rows of 2048 columns, page size 64, window 512."""
    lanes = lanes_of(257, 2048, 64, WINDOW - 1, 4)
    ring = ring_length(lanes)
    used = sum(lane_bytes(lane, ring) for lane in lanes) / 1e6
    raw = ring * 256 * 2048 * 4 * len(lanes) / 1e6
    return at_most(f"recorder, {ring} launches a space", used, 64, "MB", f"raw tables {raw:.0f} MB")


def _difference_us(on: Callable[[], None], off: Callable[[], None], rounds: int = 60) -> float:
    """Median host time of `on` less that of `off`, the two taken in turns."""
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, times in zip((on, off), spent, strict=True):
            started = time.perf_counter()
            for _ in range(5):
                call()
            times.append((time.perf_counter() - started) / 5 * 1e6)
    return statistics.median(spent[0]) - statistics.median(spent[1])
