"""Tail of a dense layer and the input norm of the next layer in one launch."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned
from triage_kernels.core.guard import check_choice, check_rows, check_scalar, check_vectors
from triage_kernels.core.launch import fresh, launch_rows
from triage_kernels.core.models import EPS
from triage_kernels.core.rms import inv_rms, load, load_weight, store, through, tile

READS = ("rounded", "unrounded")


@triton.jit
def _store_next_norm(ptr, rows, cols, masks, pieces, w, N: tl.constexpr, EPS: tl.constexpr):
    """Store n(row) * w to packed rows, each piece rounded once."""
    squares = pieces[0] * pieces[0]
    for i in tl.static_range(1, len(pieces)):
        squares += pieces[i] * pieces[i]
    inv = (1.0 / (tl.sqrt(tl.sum(squares, axis=1) * (1.0 / N)) + EPS))[:, None]
    for i in tl.static_range(len(cols)):
        store(ptr, N, rows, cols[i], masks[i], pieces[i] * inv * w[i])


@triton.jit(do_not_specialize=["c_ptr", "M"])
def _layer_tail_kernel(
    x_ptr,
    w_ptr,
    r_ptr,
    c_ptr,
    next_w_ptr,
    h_ptr,
    normed_ptr,
    stride_x,
    stride_r,
    M,
    N: tl.constexpr,
    EPS: tl.constexpr,
    NEXT_EPS: tl.constexpr,
    ROUNDED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    rows, cols, masks = tile(M, N, ROWS, BLOCK)
    x = load(x_ptr, stride_x, rows, cols, masks)
    r = load(r_ptr, stride_r, rows, cols, masks)
    w = load_weight(w_ptr, cols, N)
    c = tl.load(c_ptr).to(tl.float32)
    inv = inv_rms(x, N, EPS)
    hs = ()
    for i in tl.static_range(len(cols)):
        h = (x[i] * inv * w[i] + r[i]) * c
        store(h_ptr, N, rows, cols[i], masks[i], h)
        hs = hs + (through(h, h_ptr, ROUNDED),)
    next_w = load_weight(next_w_ptr, cols, N)
    _store_next_norm(normed_ptr, rows, cols, masks, hs, next_w, N, NEXT_EPS)


def gemma_layer_tail_next_norm(
    x: Tensor,
    weight: Tensor,
    residual: Tensor,
    scalar: Tensor,
    next_weight: Tensor,
    eps: float = EPS,
    next_eps: float = EPS,
    reads: str = "rounded",
) -> tuple[Tensor, ...]:
    """h = R((n(x) * weight + residual) * scalar) and R(n(h) * next_weight).

    Args:
        x, residual: [M, N] of one dtype (bf16, fp16, fp32), last stride 1, own row strides.
        weight, next_weight: [N] packed, any float dtype.
        scalar: [1] or 0-d float on the device.
        reads: "rounded": the second norm reads h as stored, bit parity with separate
            kernels. "unrounded": it reads h as computed, as Inductor fuses it.
    Returns:
        (h, normed), fresh and packed, in the dtype of `x`.
    Raises:
        ContractError: a shape, dtype or stride other than the above, an unknown `reads`.
    Source: `Gemma4DecoderLayer.forward` of SGLang, across the boundary of two layers.
    """
    check_rows("x", x)
    check_rows("residual", residual, x)
    check_vectors(x, weight=weight, next_weight=next_weight)
    check_scalar("scalar", scalar, x)
    check_choice("reads", reads, READS)
    x, residual, weight, next_weight = map(aligned, (x, residual, weight, next_weight))
    h, y = fresh(x), fresh(x)
    launch_rows(
        _layer_tail_kernel,
        x,
        x,
        weight,
        residual,
        scalar,
        next_weight,
        h,
        y,
        x.stride(0),
        residual.stride(0),
        EPS=eps,
        NEXT_EPS=next_eps,
        ROUNDED=reads == "rounded",
    )
    return h, y
