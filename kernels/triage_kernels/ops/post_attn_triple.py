"""Post-attention norm, residual add and the three norms that follow it in an MoE layer.

The three norms feed the router, the dense MLP and the experts. Which of them read
the residual as stored and which as computed differs between the models' code, and a
whole rounding hangs on it, so it is an argument (`reads`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned
from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.guard import check_choice, check_rows, check_vectors
from triage_kernels.core.launch import fresh, launch_rows
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import (
    hidden_cases,
    norm_eager,
    norm_exact,
    norm_of,
    normed,
    row_traffic,
    rows_of,
    weight_of,
)
from triage_kernels.core.rms import inv_rms, load, load_weight, store, through, tile
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Misuse, Output, Outputs

# (router, dense, experts) read R(t)? "unrounded": as the kernel of the unreleased
# patch (Source below) and Inductor do.
# "sglang": its fused add keeps t for its own norm, the two others re-read what it stored.
# "hf": every norm re-reads the stored residual.
READS: Mapping[str, tuple[bool, bool, bool]] = {
    "unrounded": (False, False, False),
    "sglang": (True, False, True),
    "hf": (True, True, True),
}


@triton.jit(do_not_specialize=["M"])
def _post_attn_triple_kernel(
    a_ptr,
    r_ptr,
    w_attn_ptr,
    w_router_ptr,
    w_dense_ptr,
    w_moe_ptr,
    t_ptr,
    router_ptr,
    dense_ptr,
    moe_ptr,
    stride_a,
    stride_r,
    M,
    N: tl.constexpr,
    EPS: tl.constexpr,
    ROUTER_ROUNDED: tl.constexpr,
    DENSE_ROUNDED: tl.constexpr,
    MOE_ROUNDED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    rows, cols, masks = tile(M, N, ROWS, BLOCK)
    w_attn = load_weight(w_attn_ptr, cols, N)
    if PDL:
        w_dense = load_weight(w_dense_ptr, cols, N)
        w_moe = load_weight(w_moe_ptr, cols, N)
    wait_for_previous(PDL)
    a = load(a_ptr, stride_a, rows, cols, masks)
    r = load(r_ptr, stride_r, rows, cols, masks)
    inv = inv_rms(a, N, EPS)
    tr = ()
    td = ()
    tm = ()
    for i in tl.static_range(len(cols)):
        t = a[i] * inv * w_attn[i] + r[i]
        store(t_ptr, N, rows, cols[i], masks[i], t)
        tr = tr + (through(t, t_ptr, ROUTER_ROUNDED),)
        td = td + (through(t, t_ptr, DENSE_ROUNDED),)
        tm = tm + (through(t, t_ptr, MOE_ROUNDED),)
    # Not before the wait: `router_norm_weight` may have been computed just now.
    w_router = load_weight(w_router_ptr, cols, N)
    if not PDL:
        w_dense = load_weight(w_dense_ptr, cols, N)
        w_moe = load_weight(w_moe_ptr, cols, N)
    router_inv = inv_rms(tr, N, EPS)
    dense_inv = inv_rms(td, N, EPS)
    moe_inv = inv_rms(tm, N, EPS)
    for i in tl.static_range(len(cols)):
        store(router_ptr, N, rows, cols[i], masks[i], tr[i] * router_inv * w_router[i])
        store(dense_ptr, N, rows, cols[i], masks[i], td[i] * dense_inv * w_dense[i])
        store(moe_ptr, N, rows, cols[i], masks[i], tm[i] * moe_inv * w_moe[i])


def router_norm_weight(scale: Tensor, hidden: int) -> Tensor:
    """The router's norm weight scale * hidden^-0.5, [N] fp32.

    In fp32 on purpose: hidden^-0.5 in bf16 is 0.24 % off at 2816, which is a change of
    the router's temperature. Compute it anew after every weight update.
    """
    return scale.float() * hidden**-0.5


def gemma_post_attn_triple_rmsnorm(
    attn: Tensor,
    residual: Tensor,
    weight_post_attn: Tensor,
    weight_router: Tensor,
    weight_dense: Tensor,
    weight_moe: Tensor,
    eps: float = EPS,
    reads: str = "unrounded",
) -> Outputs:
    """t = n(attn) * w_post_attn + residual, and three norms of it.

    Args:
        attn, residual: [M, N] of one dtype (bf16, fp16, fp32), last stride 1, own row strides.
        weight_*: [N] packed, any float dtype; `weight_router` already contains
            scale * N^-0.5, see `router_norm_weight`.
        reads: "unrounded", "sglang" or "hf": which norms read R(t), see `READS`.
    Returns:
        (R(t), R(n(t) * w_router), R(n(t) * w_dense), R(n(t) * w_moe)), fresh and packed,
        in the dtype of `attn`. n(attn) is never rounded on its own; Hugging Face does.
    Raises:
        ContractError: a shape, dtype or stride other than the above, an unknown `reads`.
    Source: `gemma_post_attn_triple_rmsnorm` of an unreleased SGLang patch.
    """
    check_rows("attn", attn)
    check_rows("residual", residual, attn)
    weights = (weight_post_attn, weight_router, weight_dense, weight_moe)
    check_vectors(attn, **dict(zip(SPEC.vectors, weights, strict=True)))
    check_choice("reads", reads, READS)
    router_rounded, dense_rounded, moe_rounded = READS[reads]
    attn, residual = map(aligned, (attn, residual))
    outputs = tuple(fresh(attn) for _ in range(4))
    launch_rows(
        _post_attn_triple_kernel,
        attn,
        attn,
        residual,
        *map(aligned, weights),
        *outputs,
        attn.stride(0),
        residual.stride(0),
        EPS=eps,
        ROUTER_ROUNDED=router_rounded,
        DENSE_ROUNDED=dense_rounded,
        MOE_ROUNDED=moe_rounded,
    )
    return outputs


def gemma_post_attn_triple_rmsnorm_eager(
    attn: Tensor,
    residual: Tensor,
    weight_post_attn: Tensor,
    weight_router: Tensor,
    weight_dense: Tensor,
    weight_moe: Tensor,
    eps: float = EPS,
    reads: str = "unrounded",
) -> Outputs:
    """The same in torch: fp32 inside, one rounding per output, `reads` as in the kernel."""
    t = normed(attn, weight_post_attn, eps, torch.float32) + residual.float()
    stored = t.to(attn.dtype)
    normals = [
        normed(stored if rounded else t, weight, eps, torch.float32).to(attn.dtype)
        for rounded, weight in zip(
            READS[reads], (weight_router, weight_dense, weight_moe), strict=True
        )
    ]
    return (stored, *normals)


def gemma_post_attn_triple_rmsnorm_unfused(
    attn: Tensor,
    residual: Tensor,
    weight_post_attn: Tensor,
    weight_router: Tensor,
    weight_dense: Tensor,
    weight_moe: Tensor,
    eps: float = EPS,
    reads: str = "unrounded",
) -> Outputs:
    """The chain as SGLang runs it: R after the first norm; router and experts re-read R(t)."""
    t = norm_eager(attn, weight_post_attn, eps).float() + residual.float()
    stored = t.to(attn.dtype)
    dense = normed(t, weight_dense, eps, torch.float32).to(attn.dtype)
    return (
        stored,
        norm_eager(stored, weight_router, eps),
        dense,
        norm_eager(stored, weight_moe, eps),
    )


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    eps = args["eps"]
    n = norm_exact(args["attn"], args["weight_post_attn"], eps)
    r = args["residual"].double()
    t = Exact(n.value + r, n.magnitude + r.abs())
    # A norm of the stored residual is judged from what was stored.
    norms = (
        norm_of(t, outputs[0] if rounded else None, args[name], eps)
        for rounded, name in zip(READS[args["reads"]], SPEC.vectors[1:], strict=True)
    )
    return (t, *norms)


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    n = dims["N"]
    scale = weight_of(n, dtype, generator)
    return {
        "attn": rows_of(rows, n, dtype, generator),
        "residual": rows_of(rows, n, dtype, generator),
        "weight_post_attn": weight_of(n, dtype, generator),
        "weight_router": router_norm_weight(scale, n),
        "weight_dense": weight_of(n, dtype, generator),
        "weight_moe": weight_of(n, dtype, generator),
        "eps": EPS,
        "reads": tuple(READS)[dims.get("reads", 0)],
    }


def misuse(args: Args) -> tuple[Misuse, ...]:
    return (Misuse("an unknown reading convention", {**args, "reads": "bf16"}),)


SPEC = KernelSpec(
    name="gemma_post_attn_triple_rmsnorm",
    summary="t = n(a)*w + r; R(t), R(n(t)*w_router), R(n(t)*w_dense), R(n(t)*w_moe)",
    fused=gemma_post_attn_triple_rmsnorm,
    eager=gemma_post_attn_triple_rmsnorm_eager,
    unfused=gemma_post_attn_triple_rmsnorm_unfused,
    oracle=oracle,
    make=make,
    cases=(
        *hidden_cases(moe=True),
        Case("26B-A4B reads sglang", "26B-A4B", {"N": 2816, "reads": 1}, "bit parity mode"),
        Case("26B-A4B reads hf", "26B-A4B", {"N": 2816, "reads": 2}, "bit parity mode"),
    ),
    outputs=(
        Output("residual", "one rounding, after the add"),
        Output("router", "one rounding; reads t or R(t) as `reads` says"),
        Output("dense", "one rounding; reads t or R(t) as `reads` says"),
        Output("moe", "one rounding; reads t or R(t) as `reads` says"),
    ),
    rows=("attn", "residual"),
    vectors=("weight_post_attn", "weight_router", "weight_dense", "weight_moe"),
    computed=("weight_router",),
    launches_replaced="5 -> 1 (4 -> 1 once the router scale is folded)",
    traffic=row_traffic(fused=6, unfused=10, weights=4),
    reductions=2,
    misuse=misuse,
)
