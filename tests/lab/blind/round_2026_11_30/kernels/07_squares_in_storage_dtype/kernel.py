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
from triage_kernels.core.guard import check_choice, check_rows, check_vectors
from triage_kernels.core.launch import fresh, launch_rows
from triage_kernels.core.models import EPS
from triage_kernels.core.rms import inv_rms, load, load_weight, store, through, tile

# (router, dense, experts) read R(t)? "unrounded": as the kernel of the unreleased
# patch (Source below) and Inductor do.
# "sglang": its fused add keeps t for its own norm, the two others re-read what it stored.
# "hf": every norm re-reads the stored residual.
READS: Mapping[str, tuple[bool, bool, bool]] = {
    "unrounded": (False, False, False),
    "sglang": (True, False, True),
    "hf": (True, True, True),
}


@triton.jit
def _inv_rms(pieces, ptr, N: tl.constexpr, EPS: tl.constexpr):
    """[ROWS, 1] fp32: 1 / sqrt(mean(x^2) + eps)."""
    squares = (pieces[0] * pieces[0]).to(ptr.dtype.element_ty).to(tl.float32)
    for i in tl.static_range(1, len(pieces)):
        squares += (pieces[i] * pieces[i]).to(ptr.dtype.element_ty).to(tl.float32)
    return tl.rsqrt(tl.sum(squares, axis=1) * (1.0 / N) + EPS)[:, None]


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
):
    rows, cols, masks = tile(M, N, ROWS, BLOCK)
    a = load(a_ptr, stride_a, rows, cols, masks)
    r = load(r_ptr, stride_r, rows, cols, masks)
    w_attn = load_weight(w_attn_ptr, cols, N)
    inv = _inv_rms(a, a_ptr, N, EPS)
    tr = ()
    td = ()
    tm = ()
    for i in tl.static_range(len(cols)):
        t = a[i] * inv * w_attn[i] + r[i]
        store(t_ptr, N, rows, cols[i], masks[i], t)
        tr = tr + (through(t, t_ptr, ROUTER_ROUNDED),)
        td = td + (through(t, t_ptr, DENSE_ROUNDED),)
        tm = tm + (through(t, t_ptr, MOE_ROUNDED),)
    w_router = load_weight(w_router_ptr, cols, N)
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
) -> tuple[Tensor, ...]:
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
    check_vectors(
        attn,
        weight_post_attn=weight_post_attn,
        weight_router=weight_router,
        weight_dense=weight_dense,
        weight_moe=weight_moe,
    )
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
