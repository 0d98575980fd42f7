"""Try other tiles on this GPU, to keep the tables in `launch.py` and `heads.py` honest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from triage_kernels.bench import copy_call, inputs
from triage_kernels.heads import tiled
from triage_kernels.launch import planned
from triage_kernels.registry import OURS
from triage_kernels.spec import Case, KernelSpec
from triage_kernels.timing import cold
from triage_kernels.validate import CRASHES

ROW_TILES = ((1, 4), (1, 8), (1, 16), (2, 8), (2, 16), (4, 16))
NARROW_TILES = ((8, 2), (16, 4), (32, 4), (32, 8), (64, 8))
HEAD_TILES = ((2048, 512), (2048, 1024), (4096, 512), (4096, 1024), (8192, 1024), (8192, 512))


@dataclass(frozen=True, slots=True)
class Trial:
    """One tile on one shape; `of_copy` is the copy's time over this one's."""

    op: str
    case: str
    rows: int
    tile: str
    microseconds: float
    of_copy: float


def _widest(spec: KernelSpec) -> list[Case]:
    seen: dict[int, Case] = {}
    for case in spec.cases:
        seen.setdefault(1 << (case.dims["N"] - 1).bit_length(), case)
    return list(seen.values())


def tune(rows: int, dtype: torch.dtype, budget_seconds: float) -> Iterator[Trial]:
    """Every tile on one case per block width, and on a sliding and a full layer for heads."""
    started = time.monotonic()
    for spec in OURS:
        if spec.judge == "routing" or spec.name == "gemma_routing_post_topk":
            continue
        heads = "N" not in spec.cases[0].dims
        for case in spec.cases[6:8] if heads else _widest(spec):
            if time.monotonic() - started > budget_seconds:
                return
            block = 0 if heads else max(256, 1 << (case.dims["N"] - 1).bit_length())
            tiles = HEAD_TILES if heads else NARROW_TILES if block == 256 else ROW_TILES
            (args,) = inputs(spec, case, rows, dtype, 1)
            assert spec.fused is not None
            copy = copy_call(spec.traffic(case.dims, rows, dtype.itemsize).fused)
            for first, second in tiles:
                context = tiled(first, second) if heads else planned(block, first, second)
                try:
                    with context:
                        timings = cold({"ours": partial(spec.fused, **args), "copy": copy}, 20)
                except CRASHES:
                    continue
                ours, base = timings["ours"].median, timings["copy"].median
                label = (
                    f"lanes={first} per_warp={second}" if heads else f"rows={first} warps={second}"
                )
                yield Trial(spec.name, case.name, rows, label, ours, base / ours)
            torch.cuda.empty_cache()
