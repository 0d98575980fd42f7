"""Addressing heads: tiles of (token, head) pairs over query, key and value buffers.

Query, key and value buffers are [M, heads * head_dim] with heads packed, usually column
slices of one projection, so only the token stride is free. A program takes UNITS
consecutive (token, head) pairs of one of the three, whatever the number of heads: one
KV head costs no idle lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from triage_kernels.errors import ContractError
from triage_kernels.launch import cdiv

GRIDS = ("packed", "by_head", "per_token")
_TILE_LANES = 4096
_override: tuple[int, int] | None = None


@contextmanager
def tiled(lanes: int, lanes_per_warp: int) -> Iterator[None]:
    """Use another tile: how `bench --tune` tries the alternatives."""
    global _override
    _override = (lanes, lanes_per_warp)
    try:
        yield
    finally:
        _override = None


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """Pairs per program and warps. A head has the same threads on every grid, so the same bits."""

    units: int
    block: int
    num_warps: int

    def programs(self, tokens: int, heads: int) -> int:
        return cdiv(tokens * heads, self.units)


def head_plan(
    grid: str, heads: int, head_dim: int, dtype: torch.dtype, lanes_per_warp: int = 1024
) -> HeadPlan:
    """The tile of a grid: "packed" fills it, "by_head" takes one, "per_token" a token's heads."""
    if grid not in GRIDS:
        raise ContractError(f"grid is {grid!r}; allowed: {', '.join(GRIDS)}")
    block = 1 << (head_dim - 1).bit_length()
    lanes, per_warp = _override or (_TILE_LANES, lanes_per_warp)
    packed = max(1, lanes // block)
    units = {"packed": packed, "by_head": 1, "per_token": 1 << (heads - 1).bit_length()}[grid]
    # One 16-byte load per thread spans 512 bytes a warp: the warps that one head needs.
    warps_per_head = max(1, block * dtype.itemsize // 512)
    return HeadPlan(units, block, min(16, max(warps_per_head, units * block // per_warp)))


@triton.jit
def head_tile(
    pid, TOKENS, HEADS: tl.constexpr, D: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr
):
    """Tokens and heads [UNITS, 1] int64, columns [1, BLOCK], mask, of the pid-th tile."""
    unit = pid.to(tl.int64) * UNITS + tl.arange(0, UNITS)[:, None]
    cols = tl.arange(0, BLOCK)[None, :]
    tokens = unit // HEADS
    return tokens, unit % HEADS, cols, (tokens < TOKENS) & (cols < D)
