"""What modes `contain` and `log` cost on the host, at the hooks as `install` binds them.

One eager forward of 42 layers of SGLang's own backend, on less off (`bound_forward.py`).
The kernels' launches are replaced by a no-op that is counted, since the interpreter's own
time says nothing about a GPU. A graph replay is the step's begin, mark and release alone.
Times are processor time, the quickest of many: other processes of the machine are no part
of them, what they do to its caches is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from triage.bench.figure import Figure, at_most
from triage.device.syncs import SyncCounts
from triage.lab.decode_step import LAYERS, WINDOW
from triage.sglang.launch.sizing import lane_bytes, lanes_of, ring_length

KERNELS = {
    "check": "triage.device.launches.check_table_kernel",
    "write check": "triage.device.launches.check_writes_kernel",
    "record": "triage.device.launches.record_kernel",
}
FORWARD_US, REPLAY_US = 80, 20


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


def figures() -> list[Figure]:
    return [*_bound("contain"), *_bound("log"), _memory(), _off()]


def _bound(mode: str) -> list[Figure]:
    """The forward in a process of its own, where hooks stay bound for life."""
    command = [sys.executable, "-m", "triage.bench.bound_forward", mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    launches = {name: found["launches"].get(name, 0) for name in KERNELS}
    beside = f"SGLang {found['sglang']}, {found['bound']} targets; off {found['off_us']:.0f} us"
    return [
        at_most(
            f"host time per forward, {LAYERS} layers, {mode}",
            found["forward_us"],
            FORWARD_US,
            "us",
            beside,
        ),
        at_most(f"host time per graph replay, {mode}", found["replay_us"], REPLAY_US, "us"),
        at_most(
            f"host reads per forward, {mode}",
            found["host_reads"],
            0,
            "reads",
            f"naive per-layer trap {2 * LAYERS}",
        ),
        at_most(f"table checks per forward, {mode}", launches["check"], 2, "", str(launches)),
    ]


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


def _memory() -> Figure:
    """The recorder's host memory at 256 rows of 2048 columns, page size 64, window 512."""
    lanes = lanes_of(257, 2048, 64, WINDOW - 1, 4)
    ring = ring_length(lanes)
    used = sum(lane_bytes(lane, ring) for lane in lanes) / 1e6
    raw = ring * 256 * 2048 * 4 * len(lanes) / 1e6
    return at_most(f"recorder, {ring} launches a space", used, 64, "MB", f"raw tables {raw:.0f} MB")
