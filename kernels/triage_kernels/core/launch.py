"""The one place where a kernel is launched, and where a launch can be written down instead.

`launch` skips an empty grid. Inside `recording()` nothing runs: the ahead-of-time
check compiles exactly what a call would have launched, and the launch counts are
counted, not claimed.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from triage_kernels.core import dependent
from triage_kernels.core.interpreter import interpreting, patch_once_a_launch
from triage_kernels.core.plans import PLANS


@dataclass(frozen=True, slots=True)
class KernelLaunch:
    """One kernel launch as it was asked for."""

    kernel: Any
    grid: tuple[int, ...]
    args: tuple[Any, ...]
    constants: dict[str, Any]
    num_warps: int
    enable_fp_fusion: bool = True
    launch_pdl: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How wide rows are cut into programs: rows of each, lanes of a piece of a row, warps.

    It depends on the row width alone: a plan that changed with the number of rows
    would change the order of summation, and so the bits of a row, with it.
    """

    rows: int
    block: int
    num_warps: int

    @property
    def tile(self) -> dict[str, Any]:
        return {"ROWS": self.rows, "BLOCK": self.block}

    def in_turn(self, rows: int, device: torch.device) -> Turns:
        """For ops that hold many weights: programs that take tiles in turn, where there are many.

        The next tiles are then loaded into shared memory while one is computed, and the
        weights are read once a program. Where every tile has a program of its own the
        detour would only take time. The two compilations must not contract products:
        they agree to the bit that way.
        """
        tiles, resident = cdiv(rows, self.rows), _PROGRAMS_PER_PROCESSOR * processors(device)
        return Turns(tiles, 1) if tiles <= resident else Turns(resident, 3)


class Turns(NamedTuple):
    """Programs to launch, and stages of the loop over tiles (1: nothing is loaded ahead)."""

    programs: int
    stages: int


# Lanes of a piece -> (rows per program, warps), where nothing was measured: 8 lanes per
# thread, one 16-byte load of a 16-bit row for each operand and piece.
_BY_BLOCK = {256: (4, 4), 512: (2, 4), 1024: (1, 4)}
# A program of 4 warps that holds three or four weights takes a third of the registers.
_PROGRAMS_PER_PROCESSOR = 2
# The interpreter runs one program after the other: few large ones take a third of the time.
_INTERPRETED_LANES = 32768
_compiled_tiles = False
_override: dict[int, tuple[int, int, int]] = {}
_recorder: list[KernelLaunch] | None = None


def row_plan(width: int) -> Plan:
    """The tile for rows of `width` elements: pieces of 1024 lanes where nothing was measured."""
    tuned = _override.get(width) or PLANS["rows"].get(str(width))
    if tuned:
        rows, block, warps = tuned
    else:
        block = min(1024, max(256, 1 << (width - 1).bit_length()))
        rows, warps = _BY_BLOCK[block]
    return Plan(interpreted(rows, block), block, warps)


def interpreted(count: int, lanes: int) -> int:
    """`count` rows of so many lanes per program; more where programs are interpreted."""
    if not interpreting() or _compiled_tiles:
        return count
    return max(count, _INTERPRETED_LANES // lanes)


@contextmanager
def compiled_tiles() -> Iterator[None]:
    """Interpret as many programs as a GPU would run: what one does to another is seen."""
    global _compiled_tiles
    before, _compiled_tiles = _compiled_tiles, True
    try:
        yield
    finally:
        _compiled_tiles = before


@contextmanager
def planned(width: int, rows: int, block: int, num_warps: int) -> Iterator[None]:
    """Use another tile for one row width: how `tune` tries the alternatives."""
    _override[width] = (rows, block, num_warps)
    try:
        yield
    finally:
        del _override[width]


@contextmanager
def recording() -> Iterator[list[KernelLaunch]]:
    """Collect launches instead of running them; outputs hold whatever was allocated."""
    global _recorder
    outer, _recorder = _recorder, []
    try:
        yield _recorder
    finally:
        _recorder = outer


@functools.cache
def processors(device: torch.device) -> int:
    """Multiprocessors of a GPU; one on a CPU, so that few rows already take turns there."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


def cdiv(count: int, size: int) -> int:
    return -(-count // size)


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    *args: Any,
    num_warps: int,
    enable_fp_fusion: bool = True,
    **constants: Any,
) -> None:
    """Run `kernel` over `grid`; an empty grid is no launch.

    `enable_fp_fusion` off rounds every product before it is added: for kernels whose
    several compilations must agree to the bit, since what is contracted is the compiler's
    choice in each. A kernel with a constant `PDL` is told whether the launch is a dependent
    one, see `dependent`.
    """
    if 0 in grid:
        return
    options: dict[str, Any] = {}
    if "PDL" in kernel.arg_names:
        overlaps = dependent.may_overlap(args) and (
            _recorder is not None or not dependent.why_not()
        )
        constants["PDL"] = overlaps
        options = {"launch_pdl": True} if overlaps else {}
    if _recorder is not None:
        _recorder.append(
            KernelLaunch(kernel, grid, args, constants, num_warps, enable_fp_fusion, **options)
        )
    elif interpreting():
        patch_once_a_launch()
        # The interpreter is numpy: it warns where a GPU silently makes inf or NaN.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            kernel[grid](*args, **constants, num_warps=num_warps)
    else:
        kernel[grid](
            *args,
            **constants,
            num_warps=num_warps,
            enable_fp_fusion=enable_fp_fusion,
            **options,
        )


def fresh(like: Tensor) -> Tensor:
    """A packed output in shape, dtype and place of `like`."""
    return torch.empty(like.shape, dtype=like.dtype, device=like.device)


def launch_rows(kernel: Any, x: Tensor, *args: Any, **constants: Any) -> None:
    """Launch over the rows of `x`, [M, N], a program per tile; adds M, N, the tile and warps."""
    m, n = x.shape
    plan = row_plan(n)
    launch(
        kernel,
        (cdiv(m, plan.rows),),
        *args,
        m,
        N=n,
        **constants,
        num_warps=plan.num_warps,
        **plan.tile,
    )


def launch_rows_in_turn(kernel: Any, x: Tensor, *args: Any, **constants: Any) -> None:
    """The same for kernels that hold many weights, see `Plan.in_turn`; adds STAGES."""
    m, n = x.shape
    plan = row_plan(n)
    turns = plan.in_turn(m, x.device)
    launch(
        kernel,
        (turns.programs,),
        *args,
        m,
        N=n,
        **constants,
        STAGES=turns.stages,
        num_warps=plan.num_warps,
        enable_fp_fusion=False,
        **plan.tile,
    )
