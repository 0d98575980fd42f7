"""The contract of the attention preamble: what is checked before it is launched."""

from __future__ import annotations

from torch import Tensor

from triage_kernels.core.errors import ContractError
from triage_kernels.core.guard import (
    check_beside,
    check_choice,
    check_device,
    check_disjoint,
    check_heads,
    check_index,
    check_rows,
    check_vector,
    check_writable,
)

READS = ("rounded", "unrounded")


def _check_cache(name: str, cache: Tensor, q: Tensor, heads: int, head_dim: int) -> None:
    if cache.dim() != 3 or tuple(cache.shape[1:]) != (heads, head_dim):
        raise ContractError(
            f"{name} is of shape {tuple(cache.shape)}; allowed: (slots, {heads}, {head_dim})"
        )
    if cache.dtype != q.dtype:
        raise ContractError(f"{name} is {cache.dtype}; allowed: {q.dtype}, as q")
    rows_apart = cache.shape[1] == 1 or cache.stride(1) >= head_dim
    slots_apart = cache.shape[0] <= 1 or cache.stride(0) >= head_dim
    if cache.stride(2) != 1 or not rows_apart or not slots_apart:
        raise ContractError(
            f"{name} is strided {cache.stride()}; allowed: last stride 1, heads and slots "
            f"at least {head_dim} apart"
        )
    check_device(name, cache, q)


def check_preamble(
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
    reads: str,
) -> None:
    """Raise unless the call keeps the contract of `gemma_attention_preamble`.

    Args: as there: shapes, dtypes, strides, devices and overlaps are judged, no values.
    Raises:
        ContractError: naming the argument, what it is and what is allowed.
    Cost: host only; positions and slots are not read, which would be a sync.
    """
    check_heads("q", q, num_q_heads, head_dim)
    check_writable("q", q)
    check_vector("q_weight", q_weight, head_dim, q)
    check_rows("cos_sin", cos_sin)
    check_device("cos_sin", cos_sin, q)
    if head_dim % 2 or cos_sin.shape[1] != head_dim:
        raise ContractError(
            f"cos_sin is {cos_sin.shape[1]} wide with head_dim {head_dim}; "
            "allowed: an even head_dim, a table of that width"
        )
    if not 0 <= rotary_angles <= head_dim // 2:
        raise ContractError(f"rotary_angles is {rotary_angles}; allowed: [0, {head_dim // 2}]")
    check_choice("reads", reads, READS)
    m = q.shape[0]
    check_index("positions", positions, m, q)
    together = (k, k_weight, slots, k_cache, v_cache)
    given = [part is not None for part in together]
    if any(given) != all(given) or (v is not None and k is None):
        raise ContractError(
            "k, k_weight, slots, k_cache and v_cache come together; "
            "allowed: all of them, or none and no v"
        )
    if k is None or k_weight is None or slots is None or k_cache is None or v_cache is None:
        return
    check_vector("k_weight", k_weight, head_dim, q)
    check_index("slots", slots, m, q)
    for name, tensor in (("k", k), ("v", v)):
        if tensor is None:
            continue
        check_heads(name, tensor, num_kv_heads, head_dim)
        check_beside(name, tensor, q)
    _check_cache("k_cache", k_cache, q, num_kv_heads, head_dim)
    _check_cache("v_cache", v_cache, q, num_kv_heads, head_dim)
    if k_cache.shape[0] != v_cache.shape[0]:
        raise ContractError(
            f"v_cache has {v_cache.shape[0]} slots; allowed: {k_cache.shape[0]}, as k_cache"
        )
    check_disjoint("q", q, k=k, v=v, k_cache=k_cache, v_cache=v_cache, cos_sin=cos_sin)
    check_disjoint("k_cache", k_cache, k=k, v=v, v_cache=v_cache, slots=slots)
    check_disjoint("v_cache", v_cache, k=k, v=v, slots=slots)
