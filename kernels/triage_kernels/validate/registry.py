"""The one list of kernels. Validation, ahead-of-time checks, bench and tests loop over it."""

from __future__ import annotations

from collections.abc import Sequence

from triage_kernels.core.errors import UnknownNameError
from triage_kernels.core.spec import KernelSpec
from triage_kernels.ops import (
    dual_rmsnorm,
    gelu_tanh_mul,
    layer_tail,
    layer_tail_moe,
    post_attn_triple,
    preamble_spec,
    qkv_rmsnorm,
    qkv_rmsnorm_shared_kv,
    rmsnorm_add,
    rmsnorm_residual_scalar,
    routing,
    routing_post_topk,
    sglang_only,
)

KERNELS: tuple[KernelSpec, ...] = (
    routing.SPEC,
    routing_post_topk.SPEC,
    rmsnorm_residual_scalar.SPEC,
    rmsnorm_add.SPEC,
    dual_rmsnorm.SPEC,
    qkv_rmsnorm.SPEC,
    qkv_rmsnorm_shared_kv.SPEC,
    gelu_tanh_mul.SPEC,
    post_attn_triple.SPEC,
    layer_tail.SPEC,
    layer_tail_moe.SPEC,
    preamble_spec.SPEC,
    sglang_only.QKV_NORM_ROPE,
    sglang_only.RMSNORM_FANOUT,
)
OURS: tuple[KernelSpec, ...] = tuple(spec for spec in KERNELS if spec.fused is not None)


def select(names: Sequence[str]) -> tuple[KernelSpec, ...]:
    """The kernels of those names, in registry order; all of them for no name."""
    known = {spec.name for spec in KERNELS}
    for name in names:
        if name not in known:
            raise UnknownNameError(f"no kernel {name!r}; there are: {', '.join(sorted(known))}")
    return tuple(spec for spec in KERNELS if not names or spec.name in names)
