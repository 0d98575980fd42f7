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
from triage_kernels.core.dependent import wait_for_previous
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
from triage_kernels.core.reference import norm_eager, rows_of, weight_of
from triage_kernels.core.rms import inv_rms
from triage_kernels.core.spec import Args, Exact, KernelSpec, Misuse, Output, Outputs, Traffic
from triage_kernels.ops.qkv_rmsnorm import _norm_heads, attention_cases, heads_exact


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
    PDL: tl.constexpr,
):
    group = tl.program_id(0) // (HQ + HKV)
    part = tl.program_id(0) % (HQ + HKV)
    if part < HQ:
        pid = group * HQ + part
        _norm_heads(q_ptr, qw_ptr, stride_q, pid, M, HQ, D, EPS, True, UNITS, BLOCK, PDL)
    else:
        pid = group * HKV + part - HQ
        tokens, heads, cols, mask = head_tile(pid, M, HKV, D, UNITS, BLOCK)
        w = tl.load(kw_ptr + cols, mask=cols < D, other=0.0, eviction_policy="evict_last")
        wait_for_previous(PDL)
        x = tl.load(kv_ptr + tokens * stride_kv + heads * D + cols, mask=mask, other=0.0)
        x = x.to(tl.float32)
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
) -> Outputs:
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


def gemma_qkv_rmsnorm_shared_kv_eager(
    q: Tensor,
    kv: Tensor,
    q_weight: Tensor,
    k_weight: Tensor,
    num_q_heads: int,
    num_kv_heads: int,
    head_dim: int,
    eps: float = EPS,
) -> Outputs:
    """The same in torch: fp32 inside, one rounding each; q in place."""
    q.copy_(norm_eager(q.unflatten(-1, (num_q_heads, head_dim)), q_weight, eps).flatten(-2))
    heads = kv.unflatten(-1, (num_kv_heads, head_dim))
    return (
        q,
        norm_eager(heads, k_weight, eps).flatten(-2),
        norm_eager(heads, None, eps).flatten(-2),
    )


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    d, eps = args["head_dim"], args["eps"]
    jobs = (("q", args["q_weight"]), ("kv", args["k_weight"]), ("kv", None))
    return tuple(heads_exact(args[name], weight, d, eps) for name, weight in jobs)


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    d, hq, hkv = dims["D"], dims["HQ"], dims["HKV"]
    qkv = rows_of(rows, (hq + hkv) * d, dtype, generator)
    q, kv = qkv.split([hq * d, hkv * d], dim=-1)
    return {
        "q": q,
        "kv": kv,
        "q_weight": weight_of(d, dtype, generator),
        "k_weight": weight_of(d, dtype, generator),
        "num_q_heads": hq,
        "num_kv_heads": hkv,
        "head_dim": d,
        "eps": EPS,
    }


def misuse(args: Args) -> tuple[Misuse, ...]:
    kv = args["kv"]
    return (Misuse("kv is part of q", {**args, "kv": args["q"][:, : kv.shape[1]]}),)


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    unit = rows * dims["D"] * size
    return Traffic(
        (2 * dims["HQ"] + 3 * dims["HKV"]) * unit, (2 * dims["HQ"] + 4 * dims["HKV"]) * unit
    )


CASES = tuple(
    replace(case, reason="K == V on full layers")
    for case in attention_cases((v for v in VARIANTS if v.shared_kv_projection), ("full",))
)

SPEC = KernelSpec(
    name="gemma_qkv_rmsnorm_shared_kv",
    summary="per head: q = R(n(q)*wq); k = R(n(kv)*wk), v = R(n(kv)) from one read",
    fused=gemma_qkv_rmsnorm_shared_kv,
    eager=gemma_qkv_rmsnorm_shared_kv_eager,
    unfused=gemma_qkv_rmsnorm_shared_kv_eager,
    oracle=oracle,
    make=make,
    cases=CASES,
    outputs=(
        Output("q", "one rounding", in_place="q"),
        Output("k", "one rounding"),
        Output("v", "one rounding, no weight"),
    ),
    rows=("q", "kv"),
    vectors=("q_weight", "k_weight"),
    launches_replaced="3 -> 1",
    traffic=traffic,
    misuse=misuse,
)
