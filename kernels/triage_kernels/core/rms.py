"""What every row kernel shares: its rows cut into pieces, and the scale of a row.

A row is a tuple of equal pieces of BLOCK lanes: 2816 as three of 1024 idles 8 % of the
lanes, as one of 4096 it idles 31 % of them and holds their registers. Weights are loaded
before the reduction that they wait for: a load behind a barrier waits for memory anew,
which is most of the time of a call with few rows. Rows carry no eviction hint: with
`evict_first` an H200 took up to 5 % longer.

Rows are addressed in 64 bits: with 32, the row offset of a 31B model's query buffer
wraps from row 131,072 on. `N` and `EPS` are constants of the compilation: the mask is
then known to keep 16-byte loads whole, and a launch from Inductor cannot turn a
Python float into fp64 arithmetic.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def columns(N: tl.constexpr, BLOCK: tl.constexpr):
    """Columns [1, BLOCK] of every piece."""
    cols = ()
    for i in tl.static_range((N + BLOCK - 1) // BLOCK):
        cols = cols + (i * BLOCK + tl.arange(0, BLOCK)[None, :],)
    return cols


@triton.jit
def nth_tile(number, cols, M, N: tl.constexpr, ROWS: tl.constexpr):
    """Rows [ROWS, 1] int64 of the tile of that number, and the mask of every piece."""
    rows = (number * ROWS + tl.arange(0, ROWS)[:, None]).to(tl.int64)
    masks = ()
    for i in tl.static_range(len(cols)):
        masks = masks + ((rows < M) & (cols[i] < N),)
    return rows, masks


@triton.jit
def tile(M, N: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Rows, columns and masks of a program that has one tile."""
    cols = columns(N, BLOCK)
    rows, masks = nth_tile(tl.program_id(0), cols, M, N, ROWS)
    return rows, cols, masks


@triton.jit
def load(ptr, stride, rows, cols, masks):
    """The pieces as fp32, lanes outside the mask zero."""
    pieces = ()
    for i in tl.static_range(len(cols)):
        at = ptr + rows * stride + cols[i]
        pieces = pieces + (tl.load(at, mask=masks[i], other=0.0).to(tl.float32),)
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


@triton.jit
def store_norm(ptr, rows, cols, masks, pieces, w, N: tl.constexpr, EPS: tl.constexpr):
    """Store n(row) * w to packed rows, each piece rounded once."""
    inv = inv_rms(pieces, N, EPS)
    for i in tl.static_range(len(cols)):
        store(ptr, N, rows, cols[i], masks[i], pieces[i] * inv * w[i])


@triton.jit
def each_tile(TILE: tl.constexpr, args, M, ROWS: tl.constexpr, STAGES: tl.constexpr):
    """Run `TILE(number, *args)` for the tiles of this program, see `launch.Plan.in_turn`.

    STAGES 1: the tile of the program's own number. More: every num_programs-th tile, the
    next ones loaded ahead.
    """
    if STAGES == 1:
        TILE(tl.program_id(0), *args)
    else:
        tiles = tl.cdiv(M, ROWS)
        for number in tl.range(tl.program_id(0), tiles, tl.num_programs(0), num_stages=STAGES):
            TILE(number, *args)
