"""Addressing heads: tiles of (token, head) pairs over query, key and value buffers.

Query, key and value buffers are [M, heads * head_dim] with heads packed, usually column
slices of one projection, so only the token stride is free. A program takes UNITS
consecutive (token, head) pairs of one of the three, whatever the number of heads: one
KV head costs no idle lanes. Where heads of a token share a row of cosines the tile is
tokens by heads instead, and the row is read once for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from triage_kernels.core.launch import cdiv, interpreted
from triage_kernels.core.plans import PLANS

_override: tuple[int, int] | None = None


@contextmanager
def tiled(lanes: int, lanes_per_warp: int) -> Iterator[None]:
    """Use another tile: how `tune` tries the alternatives."""
    global _override
    _override = (lanes, lanes_per_warp)
    try:
        yield
    finally:
        _override = None


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """Pairs per program, lanes of one and warps."""

    units: int
    block: int
    num_warps: int

    def groups(self, tokens: int) -> int:
        """Groups of as many tokens as a program has pairs: a program of it per head."""
        return cdiv(tokens, self.units)

    def per_token(self, heads: int) -> TokenTile:
        """The same pairs as tokens by heads: as many heads of a token as there are or fit."""
        beside = min(self.units, 1 << (heads - 1).bit_length())
        return TokenTile(self.units // beside, beside)


class TokenTile(NamedTuple):
    """Tokens and heads of a program."""

    tokens: int
    heads: int


def head_plan(head_dim: int, dtype: torch.dtype, parts: int = 1) -> HeadPlan:
    """The tile for heads of `head_dim`, one for query, key and value; `parts` 2: in halves.

    Halves, which stay in registers for the rotation, get twice the warps. A head has as
    many threads as it has 16-byte loads: more and Triton would narrow the loads, fewer
    than a warp and heads would share one.
    """
    block = max(parts, 1 << (head_dim - 1).bit_length())
    vector = math.gcd(head_dim // parts, 16 // dtype.itemsize)
    threads = max(1, block // parts // vector)
    fewest = max(1, 32 // threads)
    lanes, per_warp = _override or PLANS["preamble" if parts == 2 else "heads"]
    units = max(fewest, interpreted(lanes // block, block))
    head_warps = max(1, threads // 32)
    most = max(1, units * threads // 32)
    return HeadPlan(units, block, max(head_warps, min(16, most, units * block * parts // per_warp)))


@triton.jit
def head_tile(
    pid, TOKENS, HEADS: tl.constexpr, D: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr
):
    """Tokens and heads [UNITS, 1] int64, columns [1, BLOCK], mask, of the pid-th tile."""
    unit = pid.to(tl.int64) * UNITS + tl.arange(0, UNITS)[:, None]
    cols = tl.arange(0, BLOCK)[None, :]
    tokens = unit // HEADS
    return tokens, unit % HEADS, cols, (tokens < TOKENS) & (cols < D)


@triton.jit
def token_tile(
    pid, TOKENS, HEADS: tl.constexpr, D: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr
):
    """Tokens [T, 1, 1] int64, heads [1, H, 1], columns [1, 1, BLOCK], mask, of the pid-th tile.

    `TILE` is a `TokenTile`, (T, H).
    """
    groups: tl.constexpr = (HEADS + TILE[1] - 1) // TILE[1]
    tokens = (pid // groups).to(tl.int64) * TILE[0] + tl.arange(0, TILE[0])[:, None, None]
    heads = pid % groups * TILE[1] + tl.arange(0, TILE[1])[None, :, None]
    cols = tl.arange(0, BLOCK)[None, None, :]
    return tokens, heads, cols, (tokens < TOKENS) & (heads < HEADS) & (cols < D)
