"""Tail of a dense layer and the input norm of the next layer in one launch."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned
from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.guard import check_choice, check_rows, check_scalar, check_vectors
from triage_kernels.core.launch import fresh, launch_rows
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import (
    hidden_cases,
    norm_after,
    norm_exact,
    norm_of,
    row_maker,
    row_traffic,
    tail_exact,
)
from triage_kernels.core.rms import inv_rms, load, load_weight, store, store_norm, through, tile
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Misuse, Output, Outputs
from triage_kernels.ops.rmsnorm_residual_scalar import gemma_rmsnorm_residual_scalar_unfused

READS = ("rounded", "unrounded")
OUTPUTS = (
    Output("h", "one rounding, after the multiply"),
    Output("normed", "one rounding; reads R(h) or h as `reads` says"),
)


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
    PDL: tl.constexpr,
):
    rows, cols, masks = tile(M, N, ROWS, BLOCK)
    w = load_weight(w_ptr, cols, N)
    if PDL:
        next_w = load_weight(next_w_ptr, cols, N)
    wait_for_previous(PDL)
    x = load(x_ptr, stride_x, rows, cols, masks)
    r = load(r_ptr, stride_r, rows, cols, masks)
    c = tl.load(c_ptr).to(tl.float32)
    inv = inv_rms(x, N, EPS)
    hs = ()
    for i in tl.static_range(len(cols)):
        h = (x[i] * inv * w[i] + r[i]) * c
        store(h_ptr, N, rows, cols[i], masks[i], h)
        hs = hs + (through(h, h_ptr, ROUNDED),)
    if not PDL:
        next_w = load_weight(next_w_ptr, cols, N)
    store_norm(normed_ptr, rows, cols, masks, hs, next_w, N, NEXT_EPS)


def gemma_layer_tail_next_norm(
    x: Tensor,
    weight: Tensor,
    residual: Tensor,
    scalar: Tensor,
    next_weight: Tensor,
    eps: float = EPS,
    next_eps: float = EPS,
    reads: str = "rounded",
) -> Outputs:
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


# Four roundings unfused: norm, add, multiply, norm.
gemma_layer_tail_next_norm_eager, gemma_layer_tail_next_norm_unfused = norm_after(
    gemma_rmsnorm_residual_scalar_unfused
)


def with_next_norm(h: Exact, args: Args, stored: Tensor) -> tuple[Exact, Exact]:
    """`h` and the second norm, judged from what was stored where it reads that."""
    source = stored if args["reads"] == "rounded" else None
    return h, norm_of(h, source, args["next_weight"], args["next_eps"])


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    n = norm_exact(args["x"], args["weight"], args["eps"])
    return with_next_norm(tail_exact(n, args), args, outputs[0])


def misuse(args: Args) -> tuple[Misuse, ...]:
    return (Misuse("an unknown reading convention", {**args, "reads": "bf16"}),)


SPEC = KernelSpec(
    name="gemma_layer_tail_next_norm",
    summary="h = R((n(x)*w + r)*c); R(n(h)*w_next)",
    fused=gemma_layer_tail_next_norm,
    eager=gemma_layer_tail_next_norm_eager,
    unfused=gemma_layer_tail_next_norm_unfused,
    oracle=oracle,
    make=row_maker(
        x="rows",
        weight="weight",
        residual="rows",
        scalar="scalar",
        next_weight="weight",
        eps="eps",
        next_eps="eps",
        reads="reads",
    ),
    cases=(
        *hidden_cases(moe=False),
        Case("31B unrounded", "31B", {"N": 5376, "unrounded": 1}, "no rounding between stages"),
    ),
    outputs=OUTPUTS,
    rows=("x", "residual"),
    vectors=("weight", "next_weight"),
    launches_replaced="4 -> 1 (2 -> 1 beside the fused tail)",
    traffic=row_traffic(fused=4, unfused=5, weights=2),
    reductions=2,
    misuse=misuse,
)
