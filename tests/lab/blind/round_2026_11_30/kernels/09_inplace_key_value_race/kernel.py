"""Per-head RMSNorm on layers where key and value are one projection (K == V)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.guard import (
    check_beside,
    check_disjoint,
    check_heads,
    check_vector,
    check_writable,
)
from triage_kernels.core.heads import head_plan, head_tile
from triage_kernels.core.launch import fresh, launch
from triage_kernels.core.models import EPS, VARIANTS
from triage_kernels.core.rms import inv_rms
from triage_kernels.ops.qkv_rmsnorm import _norm_heads


@triton.jit(do_not_specialize=["M"])
def _qkv_rmsnorm_shared_kv_kernel(
    q_ptr,
    kv_ptr,
    v_ptr,
    qw_ptr,
    kw_ptr,
    stride_q,
    stride_kv,
    M,
    HQ: tl.constexpr,
    HKV: tl.constexpr,
    D: tl.constexpr,
    EPS: tl.constexpr,
    UNITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    group = tl.program_id(0) // (HQ + 2 * HKV)
    part = tl.program_id(0) % (HQ + 2 * HKV)
    if part < HQ:
        pid = group * HQ + part
        _norm_heads(q_ptr, qw_ptr, stride_q, pid, M, HQ, D, EPS, True, UNITS, BLOCK, False)
    elif part < HQ + HKV:
        # The value first: the key overwrites what it is made of.
        pid = group * HKV + part - HQ
        tokens, heads, cols, mask = head_tile(pid, M, HKV, D, UNITS, BLOCK)
        x = tl.load(kv_ptr + tokens * stride_kv + heads * D + cols, mask=mask, other=0.0)
        x = x.to(tl.float32)
        v = x * inv_rms((x,), D, EPS)
        at = (tokens * HKV + heads) * D + cols
        tl.store(v_ptr + at, v.to(v_ptr.dtype.element_ty), mask=mask)
    else:
        pid = group * HKV + part - HQ - HKV
        _norm_heads(kv_ptr, kw_ptr, stride_kv, pid, M, HKV, D, EPS, True, UNITS, BLOCK, False)


def gemma_qkv_rmsnorm_shared_kv(
    q: Tensor,
    kv: Tensor,
    q_weight: Tensor,
    k_weight: Tensor,
    num_q_heads: int,
    num_kv_heads: int,
    head_dim: int,
    eps: float = EPS,
) -> tuple[Tensor, ...]:
    """q = R(n(q) * q_weight) and k = R(n(kv) * k_weight) in place, v = R(n(kv)) fresh."""
    check_heads("q", q, num_q_heads, head_dim)
    check_heads("kv", kv, num_kv_heads, head_dim)
    check_writable("q", q)
    check_beside("kv", kv, q)
    check_vector("q_weight", q_weight, head_dim, q)
    check_vector("k_weight", k_weight, head_dim, q)
    check_disjoint("q", q, kv=kv)
    k, v = kv, fresh(kv)
    m = q.shape[0]
    plan = head_plan(head_dim, q.dtype)
    q_rows, kv_rows, q_weight, k_weight = map(aligned, (q, kv, q_weight, k_weight))
    launch(
        _qkv_rmsnorm_shared_kv_kernel,
        (plan.groups(m) * (num_q_heads + 2 * num_kv_heads),),
        q_rows,
        kv_rows,
        v,
        q_weight,
        k_weight,
        q_rows.stride(0),
        kv_rows.stride(0),
        m,
        HQ=num_q_heads,
        HKV=num_kv_heads,
        D=head_dim,
        EPS=eps,
        UNITS=plan.units,
        BLOCK=plan.block,
        num_warps=plan.num_warps,
        enable_fp_fusion=False,
    )
    return written_back(q_rows, q), written_back(kv_rows, k), v
