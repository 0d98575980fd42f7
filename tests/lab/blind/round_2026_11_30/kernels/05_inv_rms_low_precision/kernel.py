"""Per-head RMSNorm of query, key and value in one launch, in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.errors import ContractError
from triage_kernels.core.guard import (
    check_beside,
    check_disjoint,
    check_heads,
    check_vector,
    check_writable,
)
from triage_kernels.core.heads import head_plan, head_tile
from triage_kernels.core.launch import launch
from triage_kernels.core.models import EPS, VARIANTS, Variant
from triage_kernels.core.rms import inv_rms


@triton.jit
def _norm_heads(
    x_ptr,
    w_ptr,
    stride,
    pid,
    M,
    HEADS: tl.constexpr,
    D: tl.constexpr,
    EPS: tl.constexpr,
    WEIGHTED: tl.constexpr,
    UNITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    tokens, heads, cols, mask = head_tile(pid, M, HEADS, D, UNITS, BLOCK)
    at = tokens * stride + heads * D + cols
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + cols, mask=cols < D, other=0.0, eviction_policy="evict_last")
    y = x * inv_rms((x,), D, EPS).to(x_ptr.dtype.element_ty).to(tl.float32)
    if WEIGHTED:
        y = y * w.to(tl.float32)
    tl.store(x_ptr + at, y.to(x_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["M"])
def _qkv_rmsnorm_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    qw_ptr,
    kw_ptr,
    stride_q,
    stride_k,
    stride_v,
    M,
    HQ: tl.constexpr,
    HKV: tl.constexpr,
    D: tl.constexpr,
    EPS: tl.constexpr,
    UNITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # UNITS tokens after UNITS tokens, so that memory is walked through from end to end.
    group = tl.program_id(0) // (HQ + 2 * HKV)
    part = tl.program_id(0) % (HQ + 2 * HKV)
    if part < HQ:
        pid = group * HQ + part
        _norm_heads(q_ptr, qw_ptr, stride_q, pid, M, HQ, D, EPS, True, UNITS, BLOCK)
    elif part < HQ + HKV:
        pid = group * HKV + part - HQ
        _norm_heads(k_ptr, kw_ptr, stride_k, pid, M, HKV, D, EPS, True, UNITS, BLOCK)
    else:
        pid = group * HKV + part - HQ - HKV
        _norm_heads(v_ptr, kw_ptr, stride_v, pid, M, HKV, D, EPS, False, UNITS, BLOCK)


def gemma_qkv_rmsnorm(
    q: Tensor,
    k: Tensor | None,
    v: Tensor | None,
    q_weight: Tensor,
    k_weight: Tensor | None,
    num_q_heads: int,
    num_kv_heads: int,
    head_dim: int,
    eps: float = EPS,
) -> tuple[Tensor, ...]:
    """In place per head: q = R(n(q) * q_weight), k = R(n(k) * k_weight), v = R(n(v)).

    Args:
        q: [M, num_q_heads * head_dim] bf16, fp16 or fp32, heads packed, any token stride.
        k, v: [M, num_kv_heads * head_dim], dtype of `q`; both None on layers that share
            another layer's KV, where only `q` is normed.
        q_weight, k_weight: [head_dim] packed, any float dtype.
    Returns:
        (q, k, v) or (q,), the tensors given, overwritten.
    Aliasing: q, k and v may be column slices of one buffer but must not share an element;
        v as a view of k would be normed twice, and is refused. For K == V layers see
        `gemma_qkv_rmsnorm_shared_kv`.
    Raises:
        ContractError: a shape, dtype, stride or overlap other than the above.
    Source: SGLang `gemma_qkv_rmsnorm`, there from 0.5.12.
    """
    check_heads("q", q, num_q_heads, head_dim)
    check_writable("q", q)
    check_vector("q_weight", q_weight, head_dim, q)
    if (k is None) != (v is None):
        raise ContractError("one of k and v is None; allowed: both or neither")
    if k is not None and v is not None:
        if k_weight is None:
            raise ContractError("k_weight is None; allowed: a vector, since k is given")
        check_vector("k_weight", k_weight, head_dim, q)
        for name, tensor in (("k", k), ("v", v)):
            check_heads(name, tensor, num_kv_heads, head_dim)
            check_writable(name, tensor)
            check_beside(name, tensor, q)
        check_disjoint("q", q, k=k, v=v)
        check_disjoint("k", k, v=v)
    m = q.shape[0]
    plan = head_plan(head_dim, q.dtype)
    kv_heads = 0 if k is None else num_kv_heads
    given = [t for t in (q, k, v) if t is not None]
    written = [aligned(t) for t in given]
    q_weight = aligned(q_weight)
    k_weight = q_weight if k_weight is None else aligned(k_weight)
    # Layers that share another layer's KV launch no program for it: any tensor will do.
    q_rows, k_rows, v_rows = written if k is not None else (written[0],) * 3
    launch(
        _qkv_rmsnorm_kernel,
        (plan.groups(m) * (num_q_heads + 2 * kv_heads),),
        q_rows,
        k_rows,
        v_rows,
        q_weight,
        k_weight,
        q_rows.stride(0),
        k_rows.stride(0),
        v_rows.stride(0),
        m,
        HQ=num_q_heads,
        HKV=kv_heads,
        D=head_dim,
        EPS=eps,
        UNITS=plan.units,
        BLOCK=plan.block,
        num_warps=plan.num_warps,
        enable_fp_fusion=False,
    )
    return tuple(written_back(work, t) for work, t in zip(written, given, strict=True))
