"""Tail of a mixture-of-experts layer and the input norm of the next layer in one launch."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned
from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.guard import check_choice, check_scalar
from triage_kernels.core.launch import fresh, launch_rows_in_turn
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import hidden_cases, norm_after, row_maker, row_traffic
from triage_kernels.core.rms import (
    columns,
    each_tile,
    inv_rms,
    load_weight,
    nth_tile,
    store,
    store_norm,
    through,
)
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Outputs
from triage_kernels.ops.dual_rmsnorm import (
    check_branches,
    dual_exact,
    gemma_dual_rmsnorm_residual_scalar_unfused,
    load_branches,
    load_weights,
    sum_of_norms,
)
from triage_kernels.ops.layer_tail import OUTPUTS, READS, misuse, with_next_norm


@triton.jit
def _layer_tail_moe_tile(
    number,
    cols,
    sources,
    strides,
    weights,
    c,
    next_w,
    h_ptr,
    normed_ptr,
    M,
    N: tl.constexpr,
    EPS: tl.constexpr,
    NEXT_EPS: tl.constexpr,
    ROUNDED: tl.constexpr,
    ROWS: tl.constexpr,
):
    rows, masks = nth_tile(number, cols, M, N, ROWS)
    x1, x2, r = load_branches(*sources, strides, rows, cols, masks)
    w1, w2, w3 = weights
    y = sum_of_norms(x1, w1, x2, w2, N, EPS, EPS)
    inv = inv_rms(y, N, EPS)
    hs = ()
    for i in tl.static_range(len(cols)):
        h = (y[i] * inv * w3[i] + r[i]) * c
        store(h_ptr, N, rows, cols[i], masks[i], h)
        hs = hs + (through(h, h_ptr, ROUNDED),)
    store_norm(normed_ptr, rows, cols, masks, hs, next_w, N, NEXT_EPS)


@triton.jit(do_not_specialize=["c_ptr", "M"])
def _layer_tail_moe_kernel(
    x1_ptr,
    w1_ptr,
    x2_ptr,
    w2_ptr,
    w3_ptr,
    r_ptr,
    c_ptr,
    next_w_ptr,
    h_ptr,
    normed_ptr,
    stride_x1,
    stride_x2,
    stride_r,
    M,
    N: tl.constexpr,
    EPS: tl.constexpr,
    NEXT_EPS: tl.constexpr,
    ROUNDED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    PDL: tl.constexpr,
):
    cols = columns(N, BLOCK)
    weights = load_weights(w1_ptr, w2_ptr, w3_ptr, cols, N)
    next_w = load_weight(next_w_ptr, cols, N)
    wait_for_previous(PDL)
    c = tl.load(c_ptr).to(tl.float32)
    sources = (x1_ptr, x2_ptr, r_ptr)
    strides = (stride_x1, stride_x2, stride_r)
    each_tile(
        _layer_tail_moe_tile,
        (
            cols, sources, strides, weights, c, next_w, h_ptr, normed_ptr,
            M, N, EPS, NEXT_EPS, ROUNDED, ROWS,
        ),
        M, ROWS, STAGES,
    )  # fmt: skip


def gemma_moe_layer_tail_next_norm(
    x1: Tensor,
    weight1: Tensor,
    x2: Tensor,
    weight2: Tensor,
    weight3: Tensor,
    residual: Tensor,
    scalar: Tensor,
    next_weight: Tensor,
    eps: float = EPS,
    next_eps: float = EPS,
    reads: str = "rounded",
) -> Outputs:
    """h = R((n(n(x1)*w1 + n(x2)*w2) * w3 + residual) * scalar) and R(n(h) * next_weight).

    Args:
        x1, x2, residual: [M, N] of one dtype (bf16, fp16, fp32), last stride 1, own row strides.
        weight1, weight2, weight3, next_weight: [N] packed, any float dtype.
        scalar: [1] or 0-d float on the device.
        reads: as for `gemma_layer_tail_next_norm`.
    Returns:
        (h, normed), fresh and packed, in the dtype of `x1`.
    Raises:
        ContractError: a shape, dtype or stride other than the above, an unknown `reads`.
    Source: `Gemma4DecoderLayer.forward` of SGLang, across the boundary of two layers.
    """
    weights = (weight1, weight2, weight3, next_weight)
    check_branches(x1, x2, residual, **dict(zip(SPEC.vectors, weights, strict=True)))
    check_scalar("scalar", scalar, x1)
    check_choice("reads", reads, READS)
    x1, x2, residual = map(aligned, (x1, x2, residual))
    weight1, weight2, weight3, next_weight = map(aligned, weights)
    h, y = fresh(x1), fresh(x1)
    launch_rows_in_turn(
        _layer_tail_moe_kernel,
        x1,
        x1,
        weight1,
        x2,
        weight2,
        weight3,
        residual,
        scalar,
        next_weight,
        h,
        y,
        x1.stride(0),
        x2.stride(0),
        residual.stride(0),
        EPS=eps,
        NEXT_EPS=next_eps,
        ROUNDED=reads == "rounded",
    )
    return h, y


def _moe_tail(*given: Any, eps: float = EPS, **named: Any) -> Tensor:
    named |= {"eps1": eps, "eps2": eps, "eps3": eps}
    return gemma_dual_rmsnorm_residual_scalar_unfused(*given, **named)


# Seven roundings unfused: two norms, add, norm, add, multiply, norm.
gemma_moe_layer_tail_next_norm_eager, gemma_moe_layer_tail_next_norm_unfused = norm_after(_moe_tail)


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    return with_next_norm(dual_exact(args, (args["eps"],) * 3), args, outputs[0])


SPEC = KernelSpec(
    name="gemma_moe_layer_tail_next_norm",
    summary="h = R((n(n(x1)*w1 + n(x2)*w2)*w3 + r)*c); R(n(h)*w_next)",
    fused=gemma_moe_layer_tail_next_norm,
    eager=gemma_moe_layer_tail_next_norm_eager,
    unfused=gemma_moe_layer_tail_next_norm_unfused,
    oracle=oracle,
    make=row_maker(
        x1="rows",
        weight1="weight",
        x2="rows",
        weight2="weight",
        weight3="weight",
        residual="rows",
        scalar="scalar",
        next_weight="weight",
        eps="eps",
        next_eps="eps",
        reads="reads",
    ),
    cases=(
        *hidden_cases(moe=True),
        Case(
            "26B-A4B unrounded",
            "26B-A4B",
            {"N": 2816, "unrounded": 1},
            "no rounding between stages",
        ),
    ),
    outputs=OUTPUTS,
    rows=("x1", "x2", "residual"),
    vectors=("weight1", "weight2", "weight3", "next_weight"),
    launches_replaced="7 -> 1 (2 -> 1 beside the fused tail)",
    traffic=row_traffic(fused=5, unfused=6, weights=4),
    reductions=3,
    misuse=misuse,
)
