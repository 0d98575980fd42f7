"""The calls of our fused kernels, as `fused.py` makes them: norms, tensors, and what else it takes.

Each reads SGLang's modules and changes none of the tensors that it is given, so that SGLang's
own steps can follow where it fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

Norms = tuple[Any, ...]
Tensors = tuple[Tensor, ...]


def triple(norms: Norms, tensors: Tensors, router: Any, weight: Callable[[Any], Tensor]) -> Any:
    """(summed, input of the router's projection, of the dense branch, of the experts)."""
    from triage_kernels.ops.post_attn_triple import gemma_post_attn_triple_rmsnorm

    attended, residual = tensors
    return gemma_post_attn_triple_rmsnorm(
        attended,
        residual,
        norms[0].weight,
        weight(router),
        norms[1].weight,
        norms[2].weight,
        eps(norms[0]),
        reads="sglang",
    )


def post_attn_norms(norms: Norms, tensors: Tensors, one: Tensor) -> Any:
    """(residual, input of the feed-forward block): a tail whose scalar is one."""
    from triage_kernels.ops.layer_tail import gemma_layer_tail_next_norm

    (post, before), (attended, residual) = norms, tensors
    return gemma_layer_tail_next_norm(
        attended, post.weight, residual, one, before.weight, eps(post), eps(before)
    )


def moe_tail(norms: Norms, tensors: Tensors, scalar: Tensor) -> Any:
    from triage_kernels.ops.dual_rmsnorm import gemma_dual_rmsnorm_residual_scalar

    one, two, residual = tensors
    first, second, last = norms
    return gemma_dual_rmsnorm_residual_scalar(
        one,
        first.weight,
        two,
        second.weight,
        last.weight,
        residual,
        scalar,
        eps(first),
        eps(second),
        eps(last),
    )


def dense_tail(norms: Norms, tensors: Tensors, scalar: Tensor) -> Any:
    from triage_kernels.ops.rmsnorm_residual_scalar import gemma_rmsnorm_residual_scalar

    [norm], [h, residual] = norms, tensors
    return gemma_rmsnorm_residual_scalar(h, norm.weight, residual, scalar, eps(norm))


def route(norms: Norms, tensors: Tensors, moe: Any, topk: int) -> Any:
    from triage_kernels.ops.routing import gemma4_fused_routing

    [logits] = tensors
    return gemma4_fused_routing(logits, moe.per_expert_scale, topk)


def ple_tail(norms: Norms, tensors: Tensors, layer: Any) -> Any:
    from triage_kernels.ops.rmsnorm_residual_scalar import gemma_rmsnorm_residual_scalar

    h, contribution = _ple(norms[0], tensors, layer)
    last = norms[1]
    return gemma_rmsnorm_residual_scalar(
        contribution, last.weight, h, layer.layer_scalar, eps(last)
    )


def dense_tail_next(norms: Norms, tensors: Tensors, scalar: Tensor) -> Any:
    """(row, row normed for the next layer), as the next two."""
    from triage_kernels.ops.layer_tail import gemma_layer_tail_next_norm

    (norm, after), (h, residual) = norms, tensors
    return gemma_layer_tail_next_norm(
        h, norm.weight, residual, scalar, after.weight, eps(norm), eps(after)
    )


def moe_tail_next(norms: Norms, tensors: Tensors, scalar: Tensor) -> Any:
    from triage_kernels.ops.layer_tail_moe import gemma_moe_layer_tail_next_norm

    one, two, residual = tensors
    first, second, last, after = norms
    return gemma_moe_layer_tail_next_norm(
        one,
        first.weight,
        two,
        second.weight,
        last.weight,
        residual,
        scalar,
        after.weight,
        eps(first),
        eps(after),
    )


def ple_tail_next(norms: Norms, tensors: Tensors, layer: Any) -> Any:
    from triage_kernels.ops.layer_tail import gemma_layer_tail_next_norm

    h, contribution = _ple(norms[0], tensors, layer)
    _, last, after = norms
    return gemma_layer_tail_next_norm(
        contribution, last.weight, h, layer.layer_scalar, after.weight, eps(last), eps(after)
    )


def _ple(norm: Any, tensors: Tensors, layer: Any) -> Tensors:
    """The row behind the feed-forward block, and what the per-layer embedding adds to it."""
    from triage_kernels.ops.gelu_tanh_mul import gemma_gelu_tanh_mul
    from triage_kernels.ops.rmsnorm_add import gemma_rmsnorm_add

    h, residual, ple = tensors
    h = gemma_rmsnorm_add(h, norm.weight, residual, eps(norm))
    gate, _ = layer.per_layer_input_gate(h)
    contribution, _ = layer.per_layer_projection(gemma_gelu_tanh_mul(gate, ple))
    return h, contribution


def eps(norm: Any) -> float:
    """SGLang's two norm classes call it differently."""
    return float(norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps)
