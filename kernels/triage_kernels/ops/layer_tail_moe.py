"""Tail of a mixture-of-experts layer and the input norm of the next layer in one launch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned
from triage_kernels.core.errors import ContractError
from triage_kernels.core.guard import check_rows, check_scalar, check_vector
from triage_kernels.core.launch import launch, row_plan
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import (
    hidden_cases,
    norm_eager,
    normed,
    rows_of,
    scalar_of,
    weight_of,
)
from triage_kernels.core.rms import columns, inv_rms, load, load_weight, nth_tile, store, through
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Output, Outputs, Traffic
from triage_kernels.ops.dual_rmsnorm import oracle as dual_oracle
from triage_kernels.ops.dual_rmsnorm import sum_of_norms
from triage_kernels.ops.layer_tail import READS, misuse, next_norm_exact


@triton.jit
def _layer_tail_moe_tile(
    number,
    cols,
    x1_ptr,
    w1,
    x2_ptr,
    w2,
    w3,
    r_ptr,
    c,
    next_w,
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
):
    rows, masks = nth_tile(number, cols, M, N, ROWS)
    x1 = load(x1_ptr, stride_x1, rows, cols, masks)
    x2 = load(x2_ptr, stride_x2, rows, cols, masks)
    r = load(r_ptr, stride_r, rows, cols, masks)
    y = sum_of_norms(x1, w1, x2, w2, N, EPS, EPS)
    inv = inv_rms(y, N, EPS)
    hs = ()
    for i in tl.static_range(len(cols)):
        h = (y[i] * inv * w3[i] + r[i]) * c
        store(h_ptr, N, rows, cols[i], masks[i], h)
        hs = hs + (through(h, h_ptr, ROUNDED),)
    inv = inv_rms(hs, N, NEXT_EPS)
    for i in tl.static_range(len(cols)):
        store(normed_ptr, N, rows, cols[i], masks[i], hs[i] * inv * next_w[i])


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
):
    cols = columns(N, BLOCK)
    w1 = load_weight(w1_ptr, cols, N)
    w2 = load_weight(w2_ptr, cols, N)
    w3 = load_weight(w3_ptr, cols, N)
    next_w = load_weight(next_w_ptr, cols, N)
    c = tl.load(c_ptr).to(tl.float32)
    if STAGES == 1:
        _layer_tail_moe_tile(
            tl.program_id(0), cols, x1_ptr, w1, x2_ptr, w2, w3, r_ptr, c, next_w, h_ptr, normed_ptr,
            stride_x1, stride_x2, stride_r, M, N, EPS, NEXT_EPS, ROUNDED, ROWS,
        )  # fmt: skip
    else:
        tiles = tl.cdiv(M, ROWS)
        for number in tl.range(tl.program_id(0), tiles, tl.num_programs(0), num_stages=STAGES):
            _layer_tail_moe_tile(
                number, cols, x1_ptr, w1, x2_ptr, w2, w3, r_ptr, c, next_w, h_ptr, normed_ptr,
                stride_x1, stride_x2, stride_r, M, N, EPS, NEXT_EPS, ROUNDED, ROWS,
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
    check_rows("x1", x1)
    check_rows("x2", x2, x1)
    check_rows("residual", residual, x1)
    weights = (weight1, weight2, weight3, next_weight)
    for name, weight in zip(SPEC.vectors, weights, strict=True):
        check_vector(name, weight, x1.shape[1], x1)
    check_scalar("scalar", scalar, x1)
    if reads not in READS:
        raise ContractError(f"reads is {reads!r}; allowed: {', '.join(READS)}")
    x1, x2, residual = map(aligned, (x1, x2, residual))
    weight1, weight2, weight3, next_weight = map(aligned, weights)
    m, n = x1.shape
    h = torch.empty((m, n), dtype=x1.dtype, device=x1.device)
    y = torch.empty((m, n), dtype=x1.dtype, device=x1.device)
    plan = row_plan(n)
    turns = plan.in_turn(m, x1.device)
    launch(
        _layer_tail_moe_kernel,
        (turns.programs,),
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
        m,
        N=n,
        EPS=eps,
        NEXT_EPS=next_eps,
        ROUNDED=reads == "rounded",
        STAGES=turns.stages,
        num_warps=plan.num_warps,
        enable_fp_fusion=False,
        **plan.tile,
    )
    return h, y


def gemma_moe_layer_tail_next_norm_eager(
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
    """The same in torch: fp32 inside, one rounding per output, `reads` as in the kernel."""
    y = normed(x1, weight1, eps, torch.float32) + normed(x2, weight2, eps, torch.float32)
    h = (normed(y, weight3, eps, torch.float32) + residual.float()) * scalar.float()
    stored = h.to(x1.dtype)
    out = normed(stored if reads == "rounded" else h, next_weight, next_eps, torch.float32)
    return stored, out.to(x1.dtype)


def gemma_moe_layer_tail_next_norm_unfused(
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
    """Two norms, add, norm, add, multiply, norm: seven roundings."""
    y = norm_eager(x1, weight1, eps) + norm_eager(x2, weight2, eps)
    h = (norm_eager(y, weight3, eps) + residual) * scalar
    return h, norm_eager(h, next_weight, next_eps)


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    eps = args["eps"]
    (h,) = dual_oracle({**args, "eps1": eps, "eps2": eps, "eps3": eps}, outputs)
    return h, next_norm_exact(args, h.value, h.magnitude, outputs[0])


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    n = dims["N"]
    return {
        "x1": rows_of(rows, n, dtype, generator),
        "weight1": weight_of(n, dtype, generator),
        "x2": rows_of(rows, n, dtype, generator),
        "weight2": weight_of(n, dtype, generator),
        "weight3": weight_of(n, dtype, generator),
        "residual": rows_of(rows, n, dtype, generator),
        "scalar": scalar_of(dtype),
        "next_weight": weight_of(n, dtype, generator),
        "eps": EPS,
        "next_eps": EPS,
        "reads": "unrounded" if dims.get("unrounded") else "rounded",
    }


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    n = dims["N"]
    return Traffic((5 * rows * n + 4 * n) * size, (6 * rows * n + 4 * n) * size)


SPEC = KernelSpec(
    name="gemma_moe_layer_tail_next_norm",
    summary="h = R((n(n(x1)*w1 + n(x2)*w2)*w3 + r)*c); R(n(h)*w_next)",
    fused=gemma_moe_layer_tail_next_norm,
    eager=gemma_moe_layer_tail_next_norm_eager,
    unfused=gemma_moe_layer_tail_next_norm_unfused,
    oracle=oracle,
    make=make,
    cases=(
        *hidden_cases(moe=True),
        Case(
            "26B-A4B unrounded",
            "26B-A4B",
            {"N": 2816, "unrounded": 1},
            "no rounding between stages",
        ),
    ),
    outputs=(
        Output("h", "one rounding, after the multiply"),
        Output("normed", "one rounding; reads R(h) or h as `reads` says"),
    ),
    rows=("x1", "x2", "residual"),
    vectors=("weight1", "weight2", "weight3", "next_weight"),
    launches_replaced="7 -> 1 (2 -> 1 beside the fused tail)",
    traffic=traffic,
    reductions=3,
    misuse=misuse,
)
