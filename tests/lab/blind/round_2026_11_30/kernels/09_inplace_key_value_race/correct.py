"""Per-head RMSNorm on layers where key and value are one projection (K == V).

The shared input is read once and both results are fresh, so neither norm can see the
other's output: passing one buffer as both k and v to an in-place norm cannot work.
"""

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
    k_ptr,
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
    group = tl.program_id(0) // (HQ + HKV)
    part = tl.program_id(0) % (HQ + HKV)
    if part < HQ:
        pid = group * HQ + part
        _norm_heads(q_ptr, qw_ptr, stride_q, pid, M, HQ, D, EPS, True, UNITS, BLOCK, False)
    else:
        pid = group * HKV + part - HQ
        tokens, heads, cols, mask = head_tile(pid, M, HKV, D, UNITS, BLOCK)
        x = tl.load(kv_ptr + tokens * stride_kv + heads * D + cols, mask=mask, other=0.0)
        x = x.to(tl.float32)
        w = tl.load(kw_ptr + cols, mask=cols < D, other=0.0, eviction_policy="evict_last")
        v = x * inv_rms((x,), D, EPS)
        k = v * w.to(tl.float32)
        at = (tokens * HKV + heads) * D + cols
        tl.store(k_ptr + at, k.to(k_ptr.dtype.element_ty), mask=mask)
        tl.store(v_ptr + at, v.to(v_ptr.dtype.element_ty), mask=mask)


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
    """q = R(n(q) * q_weight) in place; fresh k = R(n(kv) * k_weight) and v = R(n(kv)).

    Args:
        q: [M, num_q_heads * head_dim] bf16, fp16 or fp32, heads packed, any token stride.
        kv: [M, num_kv_heads * head_dim], dtype of `q`; only read.
        q_weight, k_weight: [head_dim] packed, any float dtype.
    Returns:
        (q, k, v): the tensor given, and two fresh packed ones like `kv`.
    Raises:
        ContractError: a shape, dtype, stride or overlap of q and kv other than the above.
    Source: SGLang pull request 25461 (open); in no release.
    """
    check_heads("q", q, num_q_heads, head_dim)
    check_heads("kv", kv, num_kv_heads, head_dim)
    check_writable("q", q)
    check_beside("kv", kv, q)
    check_vector("q_weight", q_weight, head_dim, q)
    check_vector("k_weight", k_weight, head_dim, q)
    check_disjoint("q", q, kv=kv)
    k, v = fresh(kv), fresh(kv)
    m = q.shape[0]
    plan = head_plan(head_dim, q.dtype)
    q_rows, kv, q_weight, k_weight = map(aligned, (q, kv, q_weight, k_weight))
    launch(
        _qkv_rmsnorm_shared_kv_kernel,
        (plan.groups(m) * (num_q_heads + num_kv_heads),),
        q_rows,
        kv,
        k,
        v,
        q_weight,
        k_weight,
        q_rows.stride(0),
        kv.stride(0),
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
    return written_back(q_rows, q), k, v
