"""Registry entry of the attention preamble: unfused chain, oracle, cases, misuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from triage_kernels.core.models import EPS, VARIANTS
from triage_kernels.core.reference import norm_eager, normed, rows_of, weight_of
from triage_kernels.core.rope import cos_sin_cache, rotary_angles, rotate
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Misuse, Output, Outputs, Traffic
from triage_kernels.ops.attention_preamble import (
    gemma_attention_preamble,
    gemma_attention_preamble_eager,
)
from triage_kernels.ops.qkv_rmsnorm import attention_cases, qkv_slices

POSITIONS = 97
# fp32 evaluation of a norm lands within a few 2^-24 of the exact one; an inner rounding
# may go either way for values this close to its tie.
_TIE = 4 * 2.0**-24


def gemma_attention_preamble_unfused(
    q: Tensor,
    k: Tensor | None,
    v: Tensor | None,
    q_weight: Tensor,
    k_weight: Tensor | None,
    cos_sin: Tensor,
    positions: Tensor,
    slots: Tensor | None,
    k_cache: Tensor | None,
    v_cache: Tensor | None,
    num_q_heads: int,
    num_kv_heads: int,
    head_dim: int,
    rotary_angles: int,
    eps: float = EPS,
    reads: str = "rounded",
) -> Outputs:
    """What the preamble replaces: separate norms, rotations and cache writes.

    Args: as `gemma_attention_preamble`. Every slot must lie in [0, k_cache.shape[0]): torch
        refuses another, where the fused kernel leaves it unwritten.
        `rotary_angles` and `reads` change nothing: all angles are turned, and every step
        rounds to the dtype of `q` as with reads="rounded".
    Returns:
        (q, k_cache, v_cache), or (q,) without k; the tensors given, written.
    """
    cos, sin = cos_sin[positions].unsqueeze(1).chunk(2, dim=-1)

    def norm_rope(x: Tensor, weight: Tensor | None, heads: int) -> Tensor:
        n = norm_eager(x.unflatten(-1, (heads, head_dim)), weight, eps)
        return rotate(n.float(), cos, sin).to(x.dtype)

    q.copy_(norm_rope(q, q_weight, num_q_heads).flatten(-2))
    if k is None or slots is None or k_cache is None or v_cache is None:
        return (q,)
    k_cache.index_copy_(0, slots, norm_rope(k, k_weight, num_kv_heads))
    value = (k if v is None else v).unflatten(-1, (num_kv_heads, head_dim))
    v_cache.index_copy_(0, slots, norm_eager(value, None, eps))
    return q, k_cache, v_cache


def exact_rope(
    x: Tensor, weight: Tensor, heads: int, cos: Tensor, sin: Tensor, eps: float, rounded: bool
) -> Exact:
    """Exact norm and rotation of [M, heads * D]; with `rounded` through the dtype of `x`."""
    n = normed(x.unflatten(-1, (heads, -1)), weight, eps, torch.float64)
    slack = None
    if rounded:
        # Double rounding through fp32 cannot matter more than the tie window allows.
        near, far = ((n * (1 + s * _TIE)).to(x.dtype).double() for s in (-1, 1))
        slack = rotate((far - near).abs(), cos.abs(), -sin.abs())
        slack = slack.abs() + (far - near).abs()
        n = n.to(x.dtype).double()
    magnitude = torch.cat(
        (
            (n.chunk(2, -1)[0] * cos).abs() + (n.chunk(2, -1)[1] * sin).abs(),
            (n.chunk(2, -1)[1] * cos).abs() + (n.chunk(2, -1)[0] * sin).abs(),
        ),
        dim=-1,
    )
    return Exact(rotate(n, cos, sin), magnitude, slack)


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    eps, rounded = args["eps"], args["reads"] == "rounded"
    table = args["cos_sin"][args["positions"].long()].double().unsqueeze(1)
    cos, sin = table.chunk(2, dim=-1)
    q = exact_rope(args["q"], args["q_weight"], args["num_q_heads"], cos, sin, eps, rounded)
    q = Exact(*(None if t is None else t.flatten(-2) for t in (q.value, q.magnitude, q.slack)))  # type: ignore[arg-type]
    if args["k"] is None:
        return (q,)
    heads = args["num_kv_heads"]
    k = exact_rope(args["k"], args["k_weight"], heads, cos, sin, eps, rounded)
    source = args["k"] if args["v"] is None else args["v"]
    n = normed(source.unflatten(-1, (heads, -1)), None, eps, torch.float64)
    slots = args["slots"]
    kept = (slots >= 0) & (slots < args["k_cache"].shape[0])
    where = slots[kept].long()

    def scattered(cache: Tensor, exact: Exact) -> Exact:
        value, magnitude = cache.double(), torch.zeros_like(cache, dtype=torch.float64)
        value[where], magnitude[where] = exact.value[kept], exact.magnitude[kept]
        slack = torch.zeros_like(magnitude)
        if exact.slack is not None:
            slack[where] = exact.slack[kept]
        return Exact(value, magnitude, slack)

    return q, scattered(args["k_cache"], k), scattered(args["v_cache"], Exact(n, n.abs()))


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    d, hq, hkv = dims["D"], dims["HQ"], dims["HKV"]
    layer = "full" if d == 512 else "sliding"
    q, k, v = qkv_slices(dims, rows, dtype, generator)
    slots = 2 * rows + 3
    q_only, shared = bool(dims.get("q_only")), bool(dims.get("shared_kv"))
    caches = rows_of(2 * slots, hkv * d, dtype, generator).view(2, slots, hkv, d)
    device = generator.device
    return {
        "q": q,
        "k": None if q_only else k,
        "v": None if q_only or shared else v,
        "q_weight": weight_of(d, dtype, generator),
        "k_weight": None if q_only else weight_of(d, dtype, generator),
        "cos_sin": cos_sin_cache(layer, POSITIONS),
        "positions": torch.randint(0, POSITIONS, (rows,), generator=generator, device=device),
        "slots": None
        if q_only
        else torch.randperm(slots, generator=generator, device=device)[:rows],
        "k_cache": None if q_only else caches[0],
        "v_cache": None if q_only else caches[1],
        "num_q_heads": hq,
        "num_kv_heads": hkv,
        "head_dim": d,
        "rotary_angles": rotary_angles(layer),
        "eps": EPS,
        "reads": "unrounded" if dims.get("unrounded") else "rounded",
    }


def misuse(args: Args) -> tuple[Misuse, ...]:
    if args["k"] is None:
        return ()
    d = args["head_dim"]
    return (
        Misuse("k_cache and v_cache are one", {**args, "v_cache": args["k_cache"]}),
        Misuse("q overlaps k", {**args, "k": args["q"][:, : args["k"].shape[1]]}),
        Misuse("a contiguous rotary table", {**args, "cos_sin": args["cos_sin"][:, : d // 2]}),
        Misuse("slots as floats", {**args, "slots": args["slots"].float()}),
        Misuse("more angles than pairs", {**args, "rotary_angles": d}),
        Misuse("a cache without slots", {**args, "slots": None}),
    )


def poison(args: Args) -> Args:
    """NaN in the rows of the table that no position names, and past its last angle."""
    table = args["cos_sin"].clone()
    half, angles = table.shape[1] // 2, args["rotary_angles"]
    unread = torch.ones_like(table, dtype=torch.bool)
    used = args["positions"].long()
    unread[used, :angles] = False
    unread[used, half : half + angles] = False
    return {**args, "cos_sin": table.masked_fill_(unread, torch.nan)}


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    hq, hkv, d = dims["HQ"], dims["HKV"], dims["D"]
    kv_in = 0 if dims.get("q_only") else hkv if dims.get("shared_kv") else 2 * hkv
    kv_out = 0 if dims.get("q_only") else 2 * hkv
    table = rows * 8 * rotary_angles("full" if d == 512 else "sliding")
    fused = rows * d * (2 * hq + kv_in + kv_out) * size + table
    rope = 2 * rows * (hq + hkv) * d * size
    return Traffic(
        fused, 2 * rows * (hq + 2 * hkv) * d * size + rope + 2 * rows * kv_out * d * size
    )


def _cases() -> tuple[Case, ...]:
    shared = {(v.name, "full") for v in VARIANTS if v.shared_kv_projection}
    cases = [
        replace(c, dims={**c.dims, "shared_kv": 1}) if tuple(c.name.split()) in shared else c
        for c in attention_cases()
    ]
    q_only = {"HQ": 8, "HKV": 1, "D": 512, "q_only": 1}
    fp32 = {"HQ": 16, "HKV": 8, "D": 256, "unrounded": 1}
    return (
        *cases,
        Case("E2B full q-only", "E2B", q_only, "KV-shared layers"),
        Case("26B-A4B sliding unrounded", "26B-A4B", fp32, "no rounding before the rotation"),
    )


SPEC = KernelSpec(
    name="gemma_attention_preamble",
    summary="q = R(rope(n(q)*wq)); K cache = R(rope(n(k)*wk)), V cache = R(n(v)) through slots",
    fused=gemma_attention_preamble,
    eager=gemma_attention_preamble_eager,
    unfused=gemma_attention_preamble_unfused,
    oracle=oracle,
    make=make,
    cases=_cases(),
    outputs=(
        Output("q", "rounds after the norm if reads='rounded', and at the end", in_place="q"),
        Output("k_cache", "as q", in_place="k_cache", rows=False),
        Output("v_cache", "one rounding, no weight, no rotation", in_place="v_cache", rows=False),
    ),
    rows=("q", "k", "v"),
    vectors=("q_weight", "k_weight"),
    launches_replaced="3 (norm, rotation, cache write; 5 without the fused norm) -> 1",
    traffic=traffic,
    misuse=misuse,
    poison=poison,
    per_row=("positions", "slots"),
)
