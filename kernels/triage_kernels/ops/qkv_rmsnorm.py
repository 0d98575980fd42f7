"""Per-head RMSNorm of query, key and value in one launch, in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.dependent import wait_for_previous
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
from triage_kernels.core.reference import norm_eager, normed, rows_of, weight_of
from triage_kernels.core.rms import inv_rms
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Misuse, Output, Outputs, Traffic


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
    PDL: tl.constexpr,
):
    tokens, heads, cols, mask = head_tile(pid, M, HEADS, D, UNITS, BLOCK)
    at = tokens * stride + heads * D + cols
    w = tl.load(w_ptr + cols, mask=cols < D, other=0.0, eviction_policy="evict_last")
    wait_for_previous(PDL)
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    y = x * inv_rms((x,), D, EPS)
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
    PDL: tl.constexpr,
):
    # UNITS tokens after UNITS tokens, so that memory is walked through from end to end.
    group = tl.program_id(0) // (HQ + 2 * HKV)
    part = tl.program_id(0) % (HQ + 2 * HKV)
    if part < HQ:
        pid = group * HQ + part
        _norm_heads(q_ptr, qw_ptr, stride_q, pid, M, HQ, D, EPS, True, UNITS, BLOCK, PDL)
    elif part < HQ + HKV:
        pid = group * HKV + part - HQ
        _norm_heads(k_ptr, kw_ptr, stride_k, pid, M, HKV, D, EPS, True, UNITS, BLOCK, PDL)
    else:
        pid = group * HKV + part - HQ - HKV
        _norm_heads(v_ptr, kw_ptr, stride_v, pid, M, HKV, D, EPS, False, UNITS, BLOCK, PDL)


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
) -> Outputs:
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


def gemma_qkv_rmsnorm_eager(
    q: Tensor,
    k: Tensor | None,
    v: Tensor | None,
    q_weight: Tensor,
    k_weight: Tensor | None,
    num_q_heads: int,
    num_kv_heads: int,
    head_dim: int,
    eps: float = EPS,
) -> Outputs:
    """The same in torch, in place as well: fp32 inside, one rounding each."""
    jobs = ((q, q_weight, num_q_heads), (k, k_weight, num_kv_heads), (v, None, num_kv_heads))
    written = []
    for x, weight, heads in jobs:
        if x is not None:
            per_head = x.unflatten(-1, (heads, head_dim))
            written.append(x.copy_(norm_eager(per_head, weight, eps).flatten(-2)))
    return tuple(written)


def heads_exact(x: Tensor, weight: Tensor | None, head_dim: int, eps: float) -> Exact:
    """The norm of every head of [M, heads * head_dim], in fp64."""
    n = normed(x.unflatten(-1, (-1, head_dim)), weight, eps, torch.float64).flatten(-2)
    return Exact(n, n.abs())


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    d, eps = args["head_dim"], args["eps"]
    exact = []
    for name, weight in (("q", args["q_weight"]), ("k", args["k_weight"]), ("v", None)):
        if args[name] is not None:
            exact.append(heads_exact(args[name], weight, d, eps))
    return tuple(exact)


def qkv_slices(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Query, key and value as the projection leaves them: column slices of one buffer."""
    d, hq, hkv = dims["D"], dims["HQ"], dims["HKV"]
    qkv = rows_of(rows, (hq + 2 * hkv) * d, dtype, generator)
    return qkv.split([hq * d, hkv * d, hkv * d], dim=-1)


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    d = dims["D"]
    q, k, v = qkv_slices(dims, rows, dtype, generator)
    q_only = bool(dims.get("q_only"))
    return {
        "q": q,
        "k": None if q_only else k,
        "v": None if q_only else v,
        "q_weight": weight_of(d, dtype, generator),
        "k_weight": None if q_only else weight_of(d, dtype, generator),
        "num_q_heads": dims["HQ"],
        "num_kv_heads": dims["HKV"],
        "head_dim": d,
        "eps": EPS,
    }


def misuse(args: Args) -> tuple[Misuse, ...]:
    if args["k"] is None:
        return ()
    k = args["k"]
    d = args["head_dim"]
    spread = torch.zeros(k.shape[0], 2 * k.shape[1], dtype=k.dtype, device=k.device)
    return (
        Misuse("v is a view of k (would be normed twice)", {**args, "v": k}),
        Misuse("q and k overlap", {**args, "k": args["q"][:, : k.shape[1]]}),
        Misuse("heads not packed at head_dim", {**args, "k": spread[:, ::2]}),
        Misuse("k without v", {**args, "v": None}),
        Misuse("q one head too narrow", {**args, "q": args["q"][:, :-d]}),
    )


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    kv = 0 if dims.get("q_only") else 2 * dims["HKV"]
    moved = 2 * rows * (dims["HQ"] + kv) * dims["D"] * size
    # The separate norms copy a strided view to a packed one first.
    return Traffic(moved, 2 * moved)


def attention_cases(
    variants: Iterable[Variant] = VARIANTS, layers: tuple[str, ...] = ("sliding", "full")
) -> tuple[Case, ...]:
    """These layers of these variants; by default all there are."""
    cases = []
    for v in variants:
        for layer in layers:
            hq, hkv, d = v.heads(layer)
            dims = {"HQ": hq, "HKV": hkv, "D": d}
            cases.append(Case(f"{v.name} {layer}", v.name, dims, f"{layer} layers"))
    return tuple(cases)


SPEC = KernelSpec(
    name="gemma_qkv_rmsnorm",
    summary="per head: q = R(n(q)*wq), k = R(n(k)*wk), v = R(n(v))",
    fused=gemma_qkv_rmsnorm,
    eager=gemma_qkv_rmsnorm_eager,
    unfused=gemma_qkv_rmsnorm_eager,
    oracle=oracle,
    make=make,
    cases=(
        *attention_cases(),
        Case("E2B q-only", "E2B", {"HQ": 8, "HKV": 1, "D": 256, "q_only": 1}, "KV-shared layers"),
        Case("TP3 heads", "12B", {"HQ": 5, "HKV": 3, "D": 256}, "head counts no power of two"),
    ),
    outputs=(
        Output("q", "one rounding", in_place="q"),
        Output("k", "one rounding", in_place="k"),
        Output("v", "one rounding, no weight", in_place="v"),
    ),
    rows=("q", "k", "v"),
    vectors=("q_weight", "k_weight"),
    launches_replaced="3 (and up to 3 copies) -> 1",
    traffic=traffic,
    misuse=misuse,
)
