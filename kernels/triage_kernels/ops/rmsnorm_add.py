"""norm(x) * w + residual in one launch (PLE layers, after the feed-forward block)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.guard import check_rows, check_vector, output
from triage_kernels.core.launch import cdiv, launch, row_plan
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import hidden_cases, norm_eager, normed, rows_of, weight_of
from triage_kernels.core.rms import inv_rms, load, load_weight, store, tile
from triage_kernels.core.spec import Args, Exact, KernelSpec, Output, Outputs, Traffic


@triton.jit(do_not_specialize=["M"])
def _rmsnorm_add_kernel(
    x_ptr,
    w_ptr,
    r_ptr,
    out_ptr,
    stride_x,
    stride_r,
    stride_out,
    M,
    N: tl.constexpr,
    EPS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    rows, cols, masks = tile(M, N, ROWS, BLOCK)
    x = load(x_ptr, stride_x, rows, cols, masks)
    r = load(r_ptr, stride_r, rows, cols, masks)
    w = load_weight(w_ptr, cols, N)
    inv = inv_rms(x, N, EPS)
    for i in tl.static_range(len(cols)):
        y = x[i] * inv * w[i] + r[i]
        store(out_ptr, stride_out, rows, cols[i], masks[i], y)


def gemma_rmsnorm_add(
    x: Tensor, weight: Tensor, residual: Tensor, eps: float = EPS, out: Tensor | None = None
) -> Tensor:
    """R(n(x) * w + residual): one rounding, to the dtype of `x`.

    Args:
        x: [M, N] bf16, fp16 or fp32, last stride 1, any row stride.
        weight: [N] packed, any float dtype.
        residual: like `x`, with a row stride of its own.
        out: None for a fresh tensor, else like `x`; may be the very view `x` or `residual`.
    Raises:
        ContractError: a shape, dtype, stride or overlap other than the above.
    Source: `gemma_rmsnorm_add` in the per-layer-embedding tail of an unreleased SGLang patch.
    """
    check_rows("x", x)
    check_rows("residual", residual, x)
    check_vector("weight", weight, x.shape[1], x)
    out = output(out, x, x=x, residual=residual)
    x, residual, weight = map(aligned, (x, residual, weight))
    work = aligned(out)
    m, n = x.shape
    plan = row_plan(n)
    launch(
        _rmsnorm_add_kernel,
        (cdiv(m, plan.rows),),
        x,
        weight,
        residual,
        work,
        x.stride(0),
        residual.stride(0),
        work.stride(0),
        m,
        N=n,
        EPS=eps,
        num_warps=plan.num_warps,
        **plan.tile,
    )
    return written_back(work, out)


def gemma_rmsnorm_add_eager(
    x: Tensor, weight: Tensor, residual: Tensor, eps: float = EPS
) -> Tensor:
    """The same in torch: fp32 inside, one rounding."""
    return (normed(x, weight, eps, torch.float32) + residual.float()).to(x.dtype)


def gemma_rmsnorm_add_unfused(
    x: Tensor, weight: Tensor, residual: Tensor, eps: float = EPS
) -> Tensor:
    """Norm, add: two roundings."""
    return norm_eager(x, weight, eps) + residual


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    n = normed(args["x"], args["weight"], args["eps"], torch.float64)
    r = args["residual"].double()
    return (Exact(n + r, n.abs() + r.abs()),)


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    n = dims["N"]
    return {
        "x": rows_of(rows, n, dtype, generator),
        "weight": weight_of(n, dtype, generator),
        "residual": rows_of(rows, n, dtype, generator),
        "eps": EPS,
    }


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    n = dims["N"]
    return Traffic((3 * rows * n + n) * size, (5 * rows * n + n) * size)


SPEC = KernelSpec(
    name="gemma_rmsnorm_add",
    summary="R(n(x)*w + r)",
    fused=gemma_rmsnorm_add,
    eager=gemma_rmsnorm_add_eager,
    unfused=gemma_rmsnorm_add_unfused,
    oracle=oracle,
    make=make,
    cases=hidden_cases(),
    outputs=(Output("out", "one rounding, after the add"),),
    rows=("x", "residual"),
    vectors=("weight",),
    launches_replaced="2 -> 1",
    traffic=traffic,
)
