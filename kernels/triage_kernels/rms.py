"""What every row kernel shares: its rows cut into pieces, and the scale of a row.

A row is a tuple of equal pieces of BLOCK lanes: 2816 as three of 1024 idles 8 % of the
lanes, as one of 4096 it idles 31 % of them and holds their registers. Everything is loaded
before the first reduction, weights too: a load behind a barrier waits for memory anew,
which is most of the time of a call with few rows.

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
    """Rows [ROWS, 1] int64 of this program; per piece columns [1, BLOCK] and mask."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    cols = ()
    masks = ()
    for i in tl.static_range((N + BLOCK - 1) // BLOCK):
        piece = i * BLOCK + tl.arange(0, BLOCK)[None, :]
        cols = cols + (piece,)
        masks = masks + ((rows < M) & (piece < N),)
    return rows, cols, masks


@triton.jit
def load(ptr, stride, rows, cols, masks):
    """The pieces as fp32, lanes outside the mask zero. Read once: first to leave the cache."""
    pieces = ()
    for i in tl.static_range(len(cols)):
        at = ptr + rows * stride + cols[i]
        piece = tl.load(at, mask=masks[i], other=0.0, eviction_policy="evict_first")
        pieces = pieces + (piece.to(tl.float32),)
    return pieces


@triton.jit
def load_weight(ptr, cols, N: tl.constexpr):
    """The pieces [1, BLOCK] of a weight as fp32. Read by every program: last to leave the cache."""
    pieces = ()
    for i in tl.static_range(len(cols)):
        piece = tl.load(ptr + cols[i], mask=cols[i] < N, other=0.0, eviction_policy="evict_last")
        pieces = pieces + (piece.to(tl.float32),)
    return pieces


@triton.jit
def store(ptr, stride, rows, cols, mask, value):
    """Round one piece once, to nearest even, to the dtype of the output."""
    tl.store(ptr + rows * stride + cols, value.to(ptr.dtype.element_ty), mask=mask)


@triton.jit
def inv_rms(pieces, N: tl.constexpr, EPS: tl.constexpr):
    """[ROWS, 1] fp32: 1 / sqrt(mean(x^2) + eps). The mean is over N, the sum over the tile."""
    squares = pieces[0] * pieces[0]
    for i in tl.static_range(1, len(pieces)):
        squares += pieces[i] * pieces[i]
    return tl.rsqrt(tl.sum(squares, axis=1) * (1.0 / N) + EPS)[:, None]


@triton.jit
def through(value, ptr, ROUNDED: tl.constexpr):
    """What a later stage reads: `value` as it will be stored through `ptr`, or as computed."""
    if ROUNDED:
        value = value.to(ptr.dtype.element_ty).to(tl.float32)
    return value
