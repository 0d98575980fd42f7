"""Try other tiles on this GPU, to keep the table in `plans.py` honest.

A tile belongs to a row width, not to an op: ops that are compared to the bit must sum a
row in one order. So a width gets the tile whose worst op is best (`best_plans`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import torch

from triage_kernels.core.heads import tiled
from triage_kernels.core.launch import planned
from triage_kernels.core.plans import PLANS, Plans
from triage_kernels.core.spec import Case, KernelSpec
from triage_kernels.perf.contenders import copy_call, inputs
from triage_kernels.perf.timing import cold
from triage_kernels.validate.registry import OURS
from triage_kernels.validate.results import CRASHES

HEADS, PREAMBLE = "heads", "preamble"
# (rows per program, lanes of a piece, warps) by the widest row they are for; (lanes, lanes
# per warp) for heads.
_ROW_TILES: tuple[tuple[int, tuple[tuple[int, ...], ...]], ...] = (
    (512, ((1, 256, 2), (2, 256, 2), (2, 256, 4), (4, 256, 4), (4, 256, 8))),
    (2048, ((1, 512, 2), (1, 512, 4), (2, 512, 4), (1, 1024, 4), (1, 2048, 4))),
    (4096, ((1, 512, 2), (1, 512, 4), (1, 1024, 4), (1, 1024, 8), (1, 2048, 8), (2, 1024, 8))),
    (1 << 31, ((1, 512, 4), (1, 1024, 4), (1, 1024, 8), (1, 2048, 8), (1, 2048, 16))),
)
_HEAD_TILES: tuple[tuple[int, ...], ...] = (
    (1024, 256), (1024, 512), (2048, 512), (2048, 1024), (4096, 1024), (4096, 2048),
)  # fmt: skip
# Widths in order of worth: a run that is cut short has the large models.
_ORDER = ("2816", "5376", HEADS, PREAMBLE, "2560", "3840", "1536", "256")
_HEAD_CASES = ("26B-A4B sliding", "26B-A4B full", "31B sliding")
_ROUNDS = 15


@dataclass(frozen=True, slots=True)
class Trial:
    """One tile on one shape; `of_copy` is the copy's time over this one's.

    Attributes:
        group: the row width as in `plans.py`, "heads" or "preamble".
        tile: its numbers there.
    """

    group: str
    op: str
    case: str
    rows: int
    tile: tuple[int, ...]
    microseconds: float
    of_copy: float


def shapes() -> dict[str, list[tuple[KernelSpec, Case]]]:
    """One case per op and width, and a few of each head op, in order of worth."""
    found: dict[str, list[tuple[KernelSpec, Case]]] = {group: [] for group in _ORDER}
    for spec in OURS:
        for case in spec.cases:
            if "HKV" in case.dims:
                group = PREAMBLE if "positions" in spec.per_row else HEADS
                wanted = case.name in _HEAD_CASES
            else:
                group = str(case.dims.get("N", ""))
                wanted = group != "" and all(s is not spec for s, _ in found.get(group, []))
            if wanted:
                found.setdefault(group, []).append((spec, case))
    return found


def tiles(group: str) -> Sequence[tuple[int, ...]]:
    if group in (HEADS, PREAMBLE):
        return _HEAD_TILES
    return next(choice for widest, choice in _ROW_TILES if int(group) <= widest)


def trial_count() -> int:
    """How many trials `tune` makes, if the time suffices and no tile fails."""
    return sum(len(members) * len(tiles(group)) for group, members in shapes().items())


def tune(rows: int, dtype: torch.dtype, budget_seconds: float) -> Iterator[Trial]:
    """Every tile on every shape, width by width, while the budget lasts."""
    started = time.monotonic()
    for group, members in shapes().items():
        for spec, case in members:
            (args,) = inputs(spec, case, rows, dtype, 1)
            copy = copy_call(spec.traffic(case.dims, rows, dtype.itemsize).fused)
            assert spec.fused is not None
            call = partial(spec.fused, **args)
            for tile in tiles(group):
                if time.monotonic() - started > budget_seconds:
                    return
                try:
                    with _using(group, tile):
                        timings = cold({"ours": call, "copy": copy}, _ROUNDS)
                except CRASHES:
                    continue
                ours, base = timings["ours"].median, timings["copy"].median
                yield Trial(group, spec.name, case.name, rows, tile, ours, base / ours)
            torch.cuda.empty_cache()


def _using(group: str, tile: tuple[int, ...]) -> AbstractContextManager[None]:
    if group in (HEADS, PREAMBLE):
        lanes, per_warp = tile
        return tiled(lanes, per_warp)
    rows, block, warps = tile
    return planned(int(group), rows, block, warps)


def best_plans(trials: Iterable[Trial]) -> Plans:
    """For each width the tile whose worst op is best; what was not measured stays as it is.

    A tile that some op of the width was not measured with (it failed, or the time was up)
    is not chosen.
    """
    shares: dict[str, dict[tuple[int, ...], dict[tuple[str, str], float]]] = {}
    for t in trials:
        by_tile = shares.setdefault(t.group, {})
        by_tile.setdefault(t.tile, {})[t.op, t.case] = t.of_copy
    plans: Plans = {
        "rows": dict(PLANS["rows"]),
        "heads": list(PLANS["heads"]),
        "preamble": list(PLANS["preamble"]),
    }
    for group, by_tile in shares.items():
        most = max(map(len, by_tile.values()))
        complete = {tile: min(of.values()) for tile, of in by_tile.items() if len(of) == most}
        _, tile = max((share, tile) for tile, share in complete.items())
        if group == HEADS:
            plans["heads"] = list(tile)
        elif group == PREAMBLE:
            plans["preamble"] = list(tile)
        else:
            plans["rows"][group] = list(tile)
    return plans
