"""(norm(x) * w + residual) * scalar in one launch: the tail of a dense layer."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.guard import check_rows, check_scalar, check_vectors, output
from triage_kernels.core.launch import launch_rows
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import (
    hidden_cases,
    norm_eager,
    norm_exact,
    rounded_once,
    row_maker,
    row_traffic,
    tail_exact,
)
from triage_kernels.core.rms import inv_rms, load, load_weight, store, tile
from triage_kernels.core.spec import Args, Exact, KernelSpec, Output, Outputs


@triton.jit(do_not_specialize=["c_ptr", "M"])
def _rmsnorm_residual_scalar_kernel(
    x_ptr,
    w_ptr,
    r_ptr,
    c_ptr,
    out_ptr,
    stride_x,
    stride_r,
    stride_out,
    M,
    N: tl.constexpr,
    EPS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    rows, cols, masks = tile(M, N, ROWS, BLOCK)
    w = load_weight(w_ptr, cols, N)
    wait_for_previous(PDL)
    x = load(x_ptr, stride_x, rows, cols, masks)
    r = load(r_ptr, stride_r, rows, cols, masks)
    c = tl.load(c_ptr).to(tl.float32)
    inv = inv_rms(x, N, EPS)
    for i in tl.static_range(len(cols)):
        y = (x[i] * inv * w[i] + r[i]) * c
        store(out_ptr, stride_out, rows, cols[i], masks[i], y)


def gemma_rmsnorm_residual_scalar(
    x: Tensor,
    weight: Tensor,
    residual: Tensor,
    scalar: Tensor,
    eps: float = EPS,
    out: Tensor | None = None,
) -> Tensor:
    """R((n(x) * w + residual) * scalar): one rounding, to the dtype of `x`.

    Args:
        x: [M, N] bf16, fp16 or fp32, last stride 1, any row stride.
        weight: [N] packed, any float dtype.
        residual: like `x`, with a row stride of its own.
        scalar: [1] or 0-d float on the device; read by the kernel, so no sync.
        out: None for a fresh tensor, else like `x`; may be the very view `x` or `residual`.
    Raises:
        ContractError: a shape, dtype, stride or overlap other than the above.
    Source: SGLang `gemma_rmsnorm_residual_scalar`, there from 0.5.11.
    """
    check_rows("x", x)
    check_rows("residual", residual, x)
    check_vectors(x, weight=weight)
    check_scalar("scalar", scalar, x)
    out = output(out, x, x=x, residual=residual)
    x, residual, weight = map(aligned, (x, residual, weight))
    work = aligned(out)
    launch_rows(
        _rmsnorm_residual_scalar_kernel,
        x,
        x,
        weight,
        residual,
        scalar,
        work,
        x.stride(0),
        residual.stride(0),
        work.stride(0),
        EPS=eps,
    )
    return written_back(work, out)


def gemma_rmsnorm_residual_scalar_unfused(
    x: Tensor, weight: Tensor, residual: Tensor, scalar: Tensor, eps: float = EPS
) -> Tensor:
    """Norm, add, multiply: three roundings."""
    return (norm_eager(x, weight, eps) + residual) * scalar


gemma_rmsnorm_residual_scalar_eager = rounded_once(gemma_rmsnorm_residual_scalar_unfused)


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    return (tail_exact(norm_exact(args["x"], args["weight"], args["eps"]), args),)


SPEC = KernelSpec(
    name="gemma_rmsnorm_residual_scalar",
    summary="R((n(x)*w + r)*c)",
    fused=gemma_rmsnorm_residual_scalar,
    eager=gemma_rmsnorm_residual_scalar_eager,
    unfused=gemma_rmsnorm_residual_scalar_unfused,
    oracle=oracle,
    make=row_maker(x="rows", weight="weight", residual="rows", scalar="scalar", eps="eps"),
    cases=hidden_cases(),
    outputs=(Output("out", "one rounding, after the multiply"),),
    rows=("x", "residual"),
    vectors=("weight",),
    launches_replaced="3 -> 1",
    traffic=row_traffic(fused=3, unfused=7, weights=1),
)
