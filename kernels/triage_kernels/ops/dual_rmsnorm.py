"""The tail of a mixture-of-experts layer: two norms, their sum normed, residual, scalar."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.guard import check_rows, check_scalar, check_vectors, output
from triage_kernels.core.launch import launch_rows_in_turn
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import (
    hidden_cases,
    norm_eager,
    norm_exact,
    norm_of,
    rounded_once,
    row_maker,
    row_traffic,
    tail_exact,
)
from triage_kernels.core.rms import columns, each_tile, inv_rms, load, load_weight, nth_tile, store
from triage_kernels.core.spec import Args, Exact, KernelSpec, Output, Outputs


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
def load_branches(x1_ptr, x2_ptr, r_ptr, strides, rows, cols, masks):
    """The rows of both branches and of the residual."""
    x1 = load(x1_ptr, strides[0], rows, cols, masks)
    x2 = load(x2_ptr, strides[1], rows, cols, masks)
    return x1, x2, load(r_ptr, strides[2], rows, cols, masks)


@triton.jit
def load_weights(w1_ptr, w2_ptr, w3_ptr, cols, N: tl.constexpr):
    """The weights of both branches and of their sum."""
    w1 = load_weight(w1_ptr, cols, N)
    w2 = load_weight(w2_ptr, cols, N)
    return w1, w2, load_weight(w3_ptr, cols, N)


@triton.jit
def _dual_tile(
    number,
    cols,
    sources,
    strides,
    weights,
    c,
    out_ptr,
    stride_out,
    M,
    N: tl.constexpr,
    EPS1: tl.constexpr,
    EPS2: tl.constexpr,
    EPS3: tl.constexpr,
    ROWS: tl.constexpr,
):
    rows, masks = nth_tile(number, cols, M, N, ROWS)
    x1, x2, r = load_branches(*sources, strides, rows, cols, masks)
    w1, w2, w3 = weights
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
    PDL: tl.constexpr,
):
    cols = columns(N, BLOCK)
    weights = load_weights(w1_ptr, w2_ptr, w3_ptr, cols, N)
    wait_for_previous(PDL)
    c = tl.load(c_ptr).to(tl.float32)
    sources = (x1_ptr, x2_ptr, r_ptr)
    strides = (stride_x1, stride_x2, stride_r)
    # The arguments are a literal: a tuple with a name no longer holds constants.
    each_tile(
        _dual_tile,
        (cols, sources, strides, weights, c, out_ptr, stride_out, M, N, EPS1, EPS2, EPS3, ROWS),
        M, ROWS, STAGES,
    )  # fmt: skip


def check_branches(x1: Tensor, x2: Tensor, residual: Tensor, **weights: Tensor) -> None:
    """Two branches and a residual are rows alike, the weights vectors as long as these."""
    check_rows("x1", x1)
    check_rows("x2", x2, x1)
    check_rows("residual", residual, x1)
    check_vectors(x1, **weights)


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
    check_branches(x1, x2, residual, weight1=weight1, weight2=weight2, weight3=weight3)
    check_scalar("scalar", scalar, x1)
    out = output(out, x1, x1=x1, x2=x2, residual=residual)
    x1, x2, residual, weight1, weight2, weight3 = map(
        aligned, (x1, x2, residual, weight1, weight2, weight3)
    )
    work = aligned(out)
    launch_rows_in_turn(
        _dual_rmsnorm_kernel,
        x1,
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
        EPS1=eps1,
        EPS2=eps2,
        EPS3=eps3,
    )
    return written_back(work, out)


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


gemma_dual_rmsnorm_residual_scalar_eager = rounded_once(gemma_dual_rmsnorm_residual_scalar_unfused)


def dual_exact(args: Args, eps: tuple[float, float, float]) -> Exact:
    n1 = norm_exact(args["x1"], args["weight1"], eps[0])
    n2 = norm_exact(args["x2"], args["weight2"], eps[1])
    y = Exact(n1.value + n2.value, n1.magnitude + n2.magnitude)
    return tail_exact(norm_of(y, None, args["weight3"], eps[2]), args)


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    return (dual_exact(args, (args["eps1"], args["eps2"], args["eps3"])),)


SPEC = KernelSpec(
    name="gemma_dual_rmsnorm_residual_scalar",
    summary="R((n(n(x1)*w1 + n(x2)*w2)*w3 + r)*c)",
    fused=gemma_dual_rmsnorm_residual_scalar,
    eager=gemma_dual_rmsnorm_residual_scalar_eager,
    unfused=gemma_dual_rmsnorm_residual_scalar_unfused,
    oracle=oracle,
    make=row_maker(
        x1="rows",
        weight1="weight",
        x2="rows",
        weight2="weight",
        weight3="weight",
        residual="rows",
        scalar="scalar",
        eps1="eps",
        eps2="eps",
        eps3="eps",
    ),
    cases=hidden_cases(moe=True),
    outputs=(
        Output("out", "one rounding, after the multiply; third norm reads the unrounded sum"),
    ),
    rows=("x1", "x2", "residual"),
    vectors=("weight1", "weight2", "weight3"),
    launches_replaced="6 -> 1",
    traffic=row_traffic(fused=4, unfused=14, weights=3),
    reductions=2,
)
