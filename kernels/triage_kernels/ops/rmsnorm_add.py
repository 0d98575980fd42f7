"""norm(x) * w + residual in one launch (PLE layers, after the feed-forward block)."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.guard import check_rows, check_vectors, output
from triage_kernels.core.launch import launch_rows
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import (
    hidden_cases,
    norm_eager,
    norm_exact,
    rounded_once,
    row_maker,
    row_traffic,
)
from triage_kernels.core.rms import inv_rms, load, load_weight, store, tile
from triage_kernels.core.spec import Args, Exact, KernelSpec, Output, Outputs


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
    PDL: tl.constexpr,
):
    rows, cols, masks = tile(M, N, ROWS, BLOCK)
    w = load_weight(w_ptr, cols, N)
    wait_for_previous(PDL)
    x = load(x_ptr, stride_x, rows, cols, masks)
    r = load(r_ptr, stride_r, rows, cols, masks)
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
    check_vectors(x, weight=weight)
    out = output(out, x, x=x, residual=residual)
    x, residual, weight = map(aligned, (x, residual, weight))
    work = aligned(out)
    strides = x.stride(0), residual.stride(0), work.stride(0)
    launch_rows(_rmsnorm_add_kernel, x, x, weight, residual, work, *strides, EPS=eps)
    return written_back(work, out)


def gemma_rmsnorm_add_unfused(
    x: Tensor, weight: Tensor, residual: Tensor, eps: float = EPS
) -> Tensor:
    """Norm, add: two roundings."""
    return norm_eager(x, weight, eps) + residual


gemma_rmsnorm_add_eager = rounded_once(gemma_rmsnorm_add_unfused)


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    n = norm_exact(args["x"], args["weight"], args["eps"])
    r = args["residual"].double()
    return (Exact(n.value + r, n.magnitude + r.abs()),)


SPEC = KernelSpec(
    name="gemma_rmsnorm_add",
    summary="R(n(x)*w + r)",
    fused=gemma_rmsnorm_add,
    eager=gemma_rmsnorm_add_eager,
    unfused=gemma_rmsnorm_add_unfused,
    oracle=oracle,
    make=row_maker(x="rows", weight="weight", residual="rows", eps="eps"),
    cases=hidden_cases(),
    outputs=(Output("out", "one rounding, after the add"),),
    rows=("x", "residual"),
    vectors=("weight",),
    launches_replaced="2 -> 1",
    traffic=row_traffic(fused=3, unfused=5, weights=1),
)
