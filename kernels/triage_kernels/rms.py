"""The pieces that every row kernel shares: its tile of rows, and the scale of a row.

Rows are addressed in 64 bits: with 32, the row offset of a 31B model's query buffer
wraps from row 131,072 on. `N` and `EPS` are constants of the compilation: the mask is
then known to keep 16-byte loads whole, and a launch from Inductor cannot turn a
Python float into fp64 arithmetic.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tile(M, N: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Rows [ROWS, 1] int64, columns [1, BLOCK] and mask of this program."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    cols = tl.arange(0, BLOCK)[None, :]
    return rows, cols, (rows < M) & (cols < N)


@triton.jit
def load(ptr, stride, rows, cols, mask):
    """A tile as fp32, lanes outside the mask zero. Read once: first to leave the cache."""
    value = tl.load(ptr + rows * stride + cols, mask=mask, other=0.0, eviction_policy="evict_first")
    return value.to(tl.float32)


@triton.jit
def load_weight(ptr, cols, N: tl.constexpr):
    """A weight row as fp32 [1, BLOCK]. Read by every program: last to leave the cache."""
    value = tl.load(ptr + cols, mask=cols < N, other=0.0, eviction_policy="evict_last")
    return value.to(tl.float32)


@triton.jit
def store(ptr, stride, rows, cols, mask, value):
    """Round once, to nearest even, to the dtype of the output."""
    tl.store(ptr + rows * stride + cols, value.to(ptr.dtype.element_ty), mask=mask)


@triton.jit
def inv_rms(x, N: tl.constexpr, EPS: tl.constexpr):
    """[ROWS, 1] fp32: 1 / sqrt(mean(x^2) + eps). The mean is over N, the sum over the tile."""
    return tl.rsqrt(tl.sum(x * x, axis=1) * (1.0 / N) + EPS)[:, None]


@triton.jit
def through(value, ptr, ROUNDED: tl.constexpr):
    """What a later stage reads: `value` as it will be stored through `ptr`, or as computed."""
    if ROUNDED:
        value = value.to(ptr.dtype.element_ty).to(tl.float32)
    return value
