"""Tail of a dense layer and the input norm of the next layer in one launch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned
from triage_kernels.core.errors import ContractError
from triage_kernels.core.guard import check_rows, check_scalar, check_vector
from triage_kernels.core.launch import cdiv, launch, row_plan
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import (
    hidden_cases,
    norm_eager,
    normed,
    rows_of,
    scalar_of,
    weight_of,
)
from triage_kernels.core.rms import inv_rms, load, load_weight, store, through, tile
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Misuse, Output, Outputs, Traffic

READS = ("rounded", "unrounded")


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
    inv = inv_rms(hs, N, NEXT_EPS)
    for i in tl.static_range(len(cols)):
        store(normed_ptr, N, rows, cols[i], masks[i], hs[i] * inv * next_w[i])


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
    check_vector("weight", weight, x.shape[1], x)
    check_vector("next_weight", next_weight, x.shape[1], x)
    check_scalar("scalar", scalar, x)
    if reads not in READS:
        raise ContractError(f"reads is {reads!r}; allowed: {', '.join(READS)}")
    x, residual, weight, next_weight = map(aligned, (x, residual, weight, next_weight))
    m, n = x.shape
    h = torch.empty((m, n), dtype=x.dtype, device=x.device)
    y = torch.empty((m, n), dtype=x.dtype, device=x.device)
    plan = row_plan(n)
    launch(
        _layer_tail_kernel,
        (cdiv(m, plan.rows),),
        x,
        weight,
        residual,
        scalar,
        next_weight,
        h,
        y,
        x.stride(0),
        residual.stride(0),
        m,
        N=n,
        EPS=eps,
        NEXT_EPS=next_eps,
        ROUNDED=reads == "rounded",
        num_warps=plan.num_warps,
        **plan.tile,
    )
    return h, y


def gemma_layer_tail_next_norm_eager(
    x: Tensor,
    weight: Tensor,
    residual: Tensor,
    scalar: Tensor,
    next_weight: Tensor,
    eps: float = EPS,
    next_eps: float = EPS,
    reads: str = "rounded",
) -> Outputs:
    """The same in torch: fp32 inside, one rounding per output, `reads` as in the kernel."""
    h = (normed(x, weight, eps, torch.float32) + residual.float()) * scalar.float()
    stored = h.to(x.dtype)
    y = normed(stored if reads == "rounded" else h, next_weight, next_eps, torch.float32)
    return stored, y.to(x.dtype)


def gemma_layer_tail_next_norm_unfused(
    x: Tensor,
    weight: Tensor,
    residual: Tensor,
    scalar: Tensor,
    next_weight: Tensor,
    eps: float = EPS,
    next_eps: float = EPS,
    reads: str = "rounded",
) -> Outputs:
    """Norm, add, multiply, norm: four roundings."""
    h = (norm_eager(x, weight, eps) + residual) * scalar
    return h, norm_eager(h, next_weight, next_eps)


def next_norm_exact(args: Args, h: Tensor, terms: Tensor, stored: Tensor) -> Exact:
    """The second stage: judged from `stored` where it reads what was stored."""
    rounded = args["reads"] == "rounded"
    source = stored.double() if rounded else h
    w = args["next_weight"].double()
    inv = torch.rsqrt(source.square().mean(-1, keepdim=True) + args["next_eps"])
    return Exact(source * inv * w, (source.abs() if rounded else terms) * inv * w.abs())


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    n = normed(args["x"], args["weight"], args["eps"], torch.float64)
    r, c = args["residual"].double(), args["scalar"].double()
    h, terms = (n + r) * c, (n.abs() + r.abs()) * c.abs()
    return Exact(h, terms), next_norm_exact(args, h, terms, outputs[0])


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    n = dims["N"]
    return {
        "x": rows_of(rows, n, dtype, generator),
        "weight": weight_of(n, dtype, generator),
        "residual": rows_of(rows, n, dtype, generator),
        "scalar": scalar_of(dtype),
        "next_weight": weight_of(n, dtype, generator),
        "eps": EPS,
        "next_eps": EPS,
        "reads": "unrounded" if dims.get("unrounded") else "rounded",
    }


def misuse(args: Args) -> tuple[Misuse, ...]:
    return (Misuse("an unknown reading convention", {**args, "reads": "bf16"}),)


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    n = dims["N"]
    return Traffic((4 * rows * n + 2 * n) * size, (5 * rows * n + 2 * n) * size)


SPEC = KernelSpec(
    name="gemma_layer_tail_next_norm",
    summary="h = R((n(x)*w + r)*c); R(n(h)*w_next)",
    fused=gemma_layer_tail_next_norm,
    eager=gemma_layer_tail_next_norm_eager,
    unfused=gemma_layer_tail_next_norm_unfused,
    oracle=oracle,
    make=make,
    cases=(
        *hidden_cases(moe=False),
        Case("31B unrounded", "31B", {"N": 5376, "unrounded": 1}, "no rounding between stages"),
    ),
    outputs=(
        Output("h", "one rounding, after the multiply"),
        Output("normed", "one rounding; reads R(h) or h as `reads` says"),
    ),
    rows=("x", "residual"),
    vectors=("weight", "next_weight"),
    launches_replaced="4 -> 1 (2 -> 1 beside the fused tail)",
    traffic=traffic,
    reductions=2,
    misuse=misuse,
)
