"""Two kernels that only SGLang ships (0.5.23, for its diffusion model), with our references.

Neither has a fused form here: the attention preamble and the triple norm are the
autoregressive model's forms of the same ideas.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from triage_kernels.core.models import EPS, VARIANTS
from triage_kernels.core.reference import (
    hidden_cases,
    norm_eager,
    norm_exact,
    row_maker,
    row_traffic,
    weight_of,
)
from triage_kernels.core.rope import cos_sin_cache, rotate
from triage_kernels.core.spec import Args, Exact, KernelSpec, Output, Outputs, Traffic
from triage_kernels.ops.preamble_spec import POSITIONS, exact_rope
from triage_kernels.ops.qkv_rmsnorm import attention_cases, heads_exact, qkv_slices


def qkv_norm_rope_eager(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_weight: Tensor,
    k_weight: Tensor,
    cos_sin: Tensor,
    positions: Tensor,
    num_q_heads: int,
    num_kv_heads: int,
    head_dim: int,
    eps: float = EPS,
) -> Outputs:
    """In place: norm, round, rotate query and key; norm value."""
    cos, sin = cos_sin[positions.long()].float().unsqueeze(1).chunk(2, dim=-1)
    for x, weight, heads in ((q, q_weight, num_q_heads), (k, k_weight, num_kv_heads)):
        n = norm_eager(x.unflatten(-1, (heads, head_dim)), weight, eps).float()
        x.copy_(rotate(n, cos, sin).to(x.dtype).flatten(-2))
    v.copy_(norm_eager(v.unflatten(-1, (num_kv_heads, head_dim)), None, eps).flatten(-2))
    return q, k, v


def _rope_oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    table = args["cos_sin"][args["positions"].long()].double().unsqueeze(1)
    cos, sin = table.chunk(2, dim=-1)
    exact = []
    for name, heads in (("q", args["num_q_heads"]), ("k", args["num_kv_heads"])):
        weight = args[f"{name}_weight"]
        e = exact_rope(args[name], weight, heads, cos, sin, args["eps"], rounded=True)
        assert e.slack is not None
        exact.append(Exact(e.value.flatten(-2), e.magnitude.flatten(-2), e.slack.flatten(-2)))
    return (*exact, heads_exact(args["v"], None, args["head_dim"], args["eps"]))


def _make_rope(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    d = dims["D"]
    q, k, v = qkv_slices(dims, rows, dtype, generator)
    return {
        "q": q,
        "k": k,
        "v": v,
        "q_weight": weight_of(d, dtype, generator),
        "k_weight": weight_of(d, dtype, generator),
        "cos_sin": cos_sin_cache("full" if d == 512 else "sliding", POSITIONS),
        "positions": torch.randint(
            0, POSITIONS, (rows,), generator=generator, device=generator.device
        ),
        "num_q_heads": dims["HQ"],
        "num_kv_heads": dims["HKV"],
        "head_dim": d,
        "eps": EPS,
    }


def _rope_traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    fused = 2 * rows * (dims["HQ"] + 2 * dims["HKV"]) * dims["D"] * size
    return Traffic(fused, fused + 2 * rows * (dims["HQ"] + dims["HKV"]) * dims["D"] * size)


def rmsnorm_fanout_eager(
    x: Tensor, weight0: Tensor, weight1: Tensor, weight2: Tensor, eps: float = EPS
) -> Outputs:
    """Three norms of one row."""
    return tuple(norm_eager(x, w, eps) for w in (weight0, weight1, weight2))


def _fanout_oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    weights = (args["weight0"], args["weight1"], args["weight2"])
    return tuple(norm_exact(args["x"], w, args["eps"]) for w in weights)


QKV_NORM_ROPE = KernelSpec(
    name="gemma_qkv_norm_rope",
    summary="in place: q,k = R(rope(R(n*w))), v = R(n(v))",
    fused=None,
    eager=qkv_norm_rope_eager,
    unfused=qkv_norm_rope_eager,
    oracle=_rope_oracle,
    make=_make_rope,
    cases=attention_cases(v for v in VARIANTS if v.moe),
    outputs=(
        Output("q", "after the norm and at the end", in_place="q"),
        Output("k", "after the norm and at the end", in_place="k"),
        Output("v", "one rounding", in_place="v"),
    ),
    rows=("q", "k", "v"),
    vectors=("q_weight", "k_weight"),
    launches_replaced="2 -> 1",
    traffic=_rope_traffic,
    per_row=("positions",),
)
RMSNORM_FANOUT = KernelSpec(
    name="rmsnorm_fanout",
    summary="R(n(x)*w0), R(n(x)*w1), R(n(x)*w2) from one read",
    fused=None,
    eager=rmsnorm_fanout_eager,
    unfused=rmsnorm_fanout_eager,
    oracle=_fanout_oracle,
    make=row_maker(x="rows", weight0="weight", weight1="weight", weight2="weight", eps="eps"),
    cases=hidden_cases(moe=True),
    outputs=tuple(Output(f"y{i}", "one rounding; reads the stored residual") for i in range(3)),
    rows=("x",),
    vectors=("weight0", "weight1", "weight2"),
    launches_replaced="3 -> 1",
    traffic=row_traffic(fused=4, unfused=6, weights=3),
)
