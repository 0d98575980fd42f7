"""Host reads and host time of one decode step of 42 layers, beside the naive per-layer trap.

A CPU shows no cost for a host read, so reads are counted as if every tensor
lived on a GPU (`triage/device/syncs.py`). The naive trap is the original's: maximum
and minimum of the whole table, read at every layer. Host microseconds stand
beside for the record; here they contain the checks' arithmetic too.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch

from triage.bench.figure import Figure, at_most, median_seconds
from triage.device.syncs import count_syncs
from triage.dump.store import DumpStore
from triage.lab.decode_step import ROWS, WINDOW, Batch, Step
from triage.sglang.traps import Traps


def figures() -> list[Figure]:
    step = Step()
    traps = Traps(DumpStore(Path(tempfile.gettempdir())))
    traps.launches.note_backend(step.backend, SimpleNamespace(sliding_window_size=WINDOW - 1))
    batch = Batch(torch.arange(1, ROWS + 1))
    with count_syncs() as ours:
        step.trapped(traps, batch)
    with count_syncs() as naive:
        step.naive()
    spent = median_seconds(lambda: step.trapped(traps, batch), 15) * 1e6
    spent_naive = median_seconds(step.naive, 15) * 1e6
    return [
        at_most(
            "host reads per forward, 42 layers, mode raise",
            ours.total_host_reads,
            4,
            "reads",
            f"naive per-layer trap {naive.total_host_reads}",
        ),
        Figure(
            "host time per forward, mode raise",
            spent,
            "us",
            beside=f"naive per-layer trap {spent_naive:.0f} us",
        ),
    ]
