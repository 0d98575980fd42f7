"""The tail of a mixture-of-experts layer: two norms, their sum normed, residual, scalar."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.guard import check_rows, check_scalar, check_vector, output
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
from triage_kernels.core.rms import columns, inv_rms, load, load_weight, nth_tile, store
from triage_kernels.core.spec import Args, Exact, KernelSpec, Output, Outputs, Traffic


@triton.jit
def sum_of_norms(x1, w1, x2, w2, N: tl.constexpr, EPS1: tl.constexpr, EPS2: tl.constexpr):
    """The pieces of n(x1) * w1 + n(x2) * w2."""
    inv1 = inv_rms(x1, N, EPS1)
    inv2 = inv_rms(x2, N, EPS2)
    y = ()
    for i in tl.static_range(len(x1)):
        y = y + (x1[i] * inv1 * w1[i] + x2[i] * inv2 * w2[i],)
    return y


@triton.jit
def _dual_tile(
    number,
    cols,
    x1_ptr,
    w1,
    x2_ptr,
    w2,
    w3,
    r_ptr,
    c,
    out_ptr,
    stride_x1,
    stride_x2,
    stride_r,
    stride_out,
    M,
    N: tl.constexpr,
    EPS1: tl.constexpr,
    EPS2: tl.constexpr,
    EPS3: tl.constexpr,
    ROWS: tl.constexpr,
):
    rows, masks = nth_tile(number, cols, M, N, ROWS)
    x1 = load(x1_ptr, stride_x1, rows, cols, masks)
    x2 = load(x2_ptr, stride_x2, rows, cols, masks)
    r = load(r_ptr, stride_r, rows, cols, masks)
    y = sum_of_norms(x1, w1, x2, w2, N, EPS1, EPS2)
    inv = inv_rms(y, N, EPS3)
    for i in tl.static_range(len(cols)):
        out = (y[i] * inv * w3[i] + r[i]) * c
        store(out_ptr, stride_out, rows, cols[i], masks[i], out)


@triton.jit(do_not_specialize=["c_ptr", "M"])
def _dual_rmsnorm_kernel(
    x1_ptr,
    w1_ptr,
    x2_ptr,
    w2_ptr,
    w3_ptr,
    r_ptr,
    c_ptr,
    out_ptr,
    stride_x1,
    stride_x2,
    stride_r,
    stride_out,
    M,
    N: tl.constexpr,
    EPS1: tl.constexpr,
    EPS2: tl.constexpr,
    EPS3: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
):
    cols = columns(N, BLOCK)
    w1 = load_weight(w1_ptr, cols, N)
    w2 = load_weight(w2_ptr, cols, N)
    w3 = load_weight(w3_ptr, cols, N)
    c = tl.load(c_ptr).to(tl.float32)
    if STAGES == 1:
        _dual_tile(
            tl.program_id(0), cols, x1_ptr, w1, x2_ptr, w2, w3, r_ptr, c, out_ptr,
            stride_x1, stride_x2, stride_r, stride_out, M, N, EPS1, EPS2, EPS3, ROWS,
        )  # fmt: skip
    else:
        tiles = tl.cdiv(M, ROWS)
        for number in tl.range(tl.program_id(0), tiles, tl.num_programs(0), num_stages=STAGES):
            _dual_tile(
                number, cols, x1_ptr, w1, x2_ptr, w2, w3, r_ptr, c, out_ptr,
                stride_x1, stride_x2, stride_r, stride_out, M, N, EPS1, EPS2, EPS3, ROWS,
            )  # fmt: skip


def gemma_dual_rmsnorm_residual_scalar(
    x1: Tensor,
    weight1: Tensor,
    x2: Tensor,
    weight2: Tensor,
    weight3: Tensor,
    residual: Tensor,
    scalar: Tensor,
    eps1: float = EPS,
    eps2: float = EPS,
    eps3: float = EPS,
    out: Tensor | None = None,
) -> Tensor:
    """R((n(y) * w3 + residual) * scalar) with y = n(x1) * w1 + n(x2) * w2, unrounded.

    The third norm takes its variance from the unrounded sum, as SGLang's fused kernel
    does; the unfused path rounds the sum first.

    Args:
        x1, x2, residual: [M, N] of one dtype (bf16, fp16, fp32), last stride 1, each
            with a row stride of its own.
        weight1, weight2, weight3: [N] packed, any float dtype.
        scalar: [1] or 0-d float on the device.
        out: None for a fresh tensor, else like `x1`; may be the very view of an input row.
    Raises:
        ContractError: a shape, dtype, stride or overlap other than the above.
    Source: SGLang `gemma_dual_rmsnorm_residual_scalar`, there from 0.5.12.
    """
    check_rows("x1", x1)
    check_rows("x2", x2, x1)
    check_rows("residual", residual, x1)
    for name, weight in (("weight1", weight1), ("weight2", weight2), ("weight3", weight3)):
        check_vector(name, weight, x1.shape[1], x1)
    check_scalar("scalar", scalar, x1)
    out = output(out, x1, x1=x1, x2=x2, residual=residual)
    x1, x2, residual, weight1, weight2, weight3 = map(
        aligned, (x1, x2, residual, weight1, weight2, weight3)
    )
    work = aligned(out)
    m, n = x1.shape
    plan = row_plan(n)
    turns = plan.in_turn(m, x1.device)
    launch(
        _dual_rmsnorm_kernel,
        (turns.programs,),
        x1,
        weight1,
        x2,
        weight2,
        weight3,
        residual,
        scalar,
        work,
        x1.stride(0),
        x2.stride(0),
        residual.stride(0),
        work.stride(0),
        m,
        N=n,
        EPS1=eps1,
        EPS2=eps2,
        EPS3=eps3,
        STAGES=turns.stages,
        num_warps=plan.num_warps,
        enable_fp_fusion=False,
        **plan.tile,
    )
    return written_back(work, out)


def gemma_dual_rmsnorm_residual_scalar_eager(
    x1: Tensor,
    weight1: Tensor,
    x2: Tensor,
    weight2: Tensor,
    weight3: Tensor,
    residual: Tensor,
    scalar: Tensor,
    eps1: float = EPS,
    eps2: float = EPS,
    eps3: float = EPS,
) -> Tensor:
    """The same in torch: fp32 inside, one rounding."""
    y = normed(x1, weight1, eps1, torch.float32) + normed(x2, weight2, eps2, torch.float32)
    out = normed(y, weight3, eps3, torch.float32) + residual.float()
    return (out * scalar.float()).to(x1.dtype)


def gemma_dual_rmsnorm_residual_scalar_unfused(
    x1: Tensor,
    weight1: Tensor,
    x2: Tensor,
    weight2: Tensor,
    weight3: Tensor,
    residual: Tensor,
    scalar: Tensor,
    eps1: float = EPS,
    eps2: float = EPS,
    eps3: float = EPS,
) -> Tensor:
    """Two norms, add, norm, add, multiply: six roundings."""
    y = norm_eager(x1, weight1, eps1) + norm_eager(x2, weight2, eps2)
    return (norm_eager(y, weight3, eps3) + residual) * scalar


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    n1 = normed(args["x1"], args["weight1"], args["eps1"], torch.float64)
    n2 = normed(args["x2"], args["weight2"], args["eps2"], torch.float64)
    y, terms = n1 + n2, n1.abs() + n2.abs()
    w3, r, c = (args[k].double() for k in ("weight3", "residual", "scalar"))
    inv = torch.rsqrt(y.square().mean(-1, keepdim=True) + args["eps3"])
    return (Exact((y * inv * w3 + r) * c, (terms * inv * w3.abs() + r.abs()) * c.abs()),)


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
        "eps1": EPS,
        "eps2": EPS,
        "eps3": EPS,
    }


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    n = dims["N"]
    return Traffic((4 * rows * n + 3 * n) * size, (14 * rows * n + 3 * n) * size)


SPEC = KernelSpec(
    name="gemma_dual_rmsnorm_residual_scalar",
    summary="R((n(n(x1)*w1 + n(x2)*w2)*w3 + r)*c)",
    fused=gemma_dual_rmsnorm_residual_scalar,
    eager=gemma_dual_rmsnorm_residual_scalar_eager,
    unfused=gemma_dual_rmsnorm_residual_scalar_unfused,
    oracle=oracle,
    make=make,
    cases=hidden_cases(moe=True),
    outputs=(
        Output("out", "one rounding, after the multiply; third norm reads the unrounded sum"),
    ),
    rows=("x1", "x2", "residual"),
    vectors=("weight1", "weight2", "weight3"),
    launches_replaced="6 -> 1",
    traffic=traffic,
    reductions=2,
)
