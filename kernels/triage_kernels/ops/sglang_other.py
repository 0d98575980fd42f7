"""Two norms that SGLang ships for other models, with our references: `--like` for such kernels.

Neither has a form of ours here. The second is a pattern of Gemma-4's dense layers too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage_kernels.core.models import EPS
from triage_kernels.core.reference import (
    hidden_cases,
    norm_eager,
    norm_exact,
    norm_of,
    row_maker,
    row_traffic,
)
from triage_kernels.core.spec import Args, Exact, KernelSpec, Output, Outputs

# fp32 evaluation lands within a few 2^-24 of the exact value: an inner rounding may go
# either way that close to its tie.
_TIE = 4 * 2.0**-24


def fused_rmsnorm_eager(x: Tensor, weight: Tensor, eps: float = EPS) -> Tensor:
    """R(n(x) * weight)."""
    return norm_eager(x, weight, eps)


def _rmsnorm_oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    return (norm_exact(args["x"], args["weight"], args["eps"]),)


def fused_dual_residual_rmsnorm_eager(
    x: Tensor, residual: Tensor, weight1: Tensor, weight2: Tensor, eps: float = EPS
) -> Outputs:
    """mid = R(R(n(x) * weight1) + residual); returns R(n(mid) * weight2) and mid."""
    mid = norm_eager(x, weight1, eps) + residual
    return norm_eager(mid, weight2, eps), mid


def _dual_oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    n = norm_exact(args["x"], args["weight1"], args["eps"])
    dtype = args["x"].dtype
    r = args["residual"].double()
    near, far = ((n.value * (1 + s * _TIE)).to(dtype).double() for s in (-1, 1))
    slack = (far - near).abs() if dtype != torch.float32 else None
    inner = n.value.to(dtype).double() if dtype != torch.float32 else n.value
    mid = Exact(inner + r, n.magnitude + r.abs(), slack)
    return norm_of(mid, outputs[1], args["weight2"], args["eps"]), mid


FUSED_RMSNORM = KernelSpec(
    name="fused_rmsnorm",
    summary="R(n(x)*w)",
    fused=None,
    eager=fused_rmsnorm_eager,
    unfused=fused_rmsnorm_eager,
    oracle=_rmsnorm_oracle,
    make=row_maker(x="rows", weight="weight", eps="eps"),
    cases=hidden_cases(),
    outputs=(Output("out", "one rounding"),),
    rows=("x",),
    vectors=("weight",),
    launches_replaced="1 -> 1",
    traffic=row_traffic(fused=2, unfused=2, weights=1),
)
FUSED_DUAL_RESIDUAL_RMSNORM = KernelSpec(
    name="fused_dual_residual_rmsnorm",
    summary="mid = R(R(n(x)*w1) + r); R(n(mid)*w2), mid",
    fused=None,
    eager=fused_dual_residual_rmsnorm_eager,
    unfused=fused_dual_residual_rmsnorm_eager,
    oracle=_dual_oracle,
    make=row_maker(x="rows", residual="rows", weight1="weight", weight2="weight", eps="eps"),
    cases=hidden_cases(),
    outputs=(Output("out", "one rounding; reads mid"), Output("mid", "after norm and add")),
    rows=("x", "residual"),
    vectors=("weight1", "weight2"),
    launches_replaced="2 -> 1",
    traffic=row_traffic(fused=4, unfused=6, weights=2),
)
