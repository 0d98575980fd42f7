"""Top-k routing in one launch: select by repeated maximum, softmax, scale per expert."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned
from triage_kernels.core.errors import ContractError
from triage_kernels.core.guard import check_rows, check_vector
from triage_kernels.core.launch import cdiv, interpreted, launch

MAX_EXPERTS = 1024
# Four rows to a program of four warps: a row stays within one warp at E = 128.
_ROWS, _WARPS = 4, 4


@triton.jit(do_not_specialize=["T"])
def _routing_kernel(
    logits_ptr,
    scale_ptr,
    weights_ptr,
    ids_ptr,
    stride,
    T,
    E: tl.constexpr,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    experts = tl.arange(0, BLOCK_E)[None, :]
    mask = (rows < T) & (experts < E)
    logits = tl.load(logits_ptr + rows * stride + experts, mask=mask, other=0.0).to(tl.float32)
    values = tl.where((rows < T) & (experts < E), logits, -float("inf"))
    lanes = tl.arange(0, BLOCK_K)[None, :]
    ids = tl.zeros((ROWS, BLOCK_K), tl.int32)
    top = tl.full((ROWS, BLOCK_K), -float("inf"), tl.float32)
    for k in tl.static_range(K):
        best = tl.max(values, axis=1)[:, None]
        first = tl.min(tl.where(values == best, experts, BLOCK_E), axis=1)[:, None]
        ids = tl.where(lanes == k, first, ids)
        top = tl.where(lanes == k, best, top)
        values = tl.where(experts == first, -float("inf"), values)
    kept = (rows < T) & (lanes < K)
    # The first is the largest; the difference, not the maximum, carries a NaN to every lane.
    largest = tl.sum(tl.where(lanes == 0, top, 0.0), axis=1)[:, None]
    e = tl.where(lanes < K, tl.exp(top - largest), 0.0)
    weights = e / tl.sum(e, axis=1)[:, None]
    scale = tl.load(scale_ptr + ids, mask=kept & (ids < E), other=1.0).to(tl.float32)
    at = rows * K + lanes
    tl.store(weights_ptr + at, weights * scale, mask=kept)
    tl.store(ids_ptr + at, ids.to(tl.int32), mask=kept)


def gemma4_fused_routing(router_logits: Tensor, per_expert_scale: Tensor, topk: int) -> tuple[Tensor, ...]:
    """Weights and ids of the `topk` largest logits of each token.

    Args:
        router_logits: [T, E] bf16, fp16 or fp32, last stride 1, any row stride, E <= 1024.
        per_expert_scale: [E] packed, any float dtype.
        topk: in [1, E].
    Returns:
        weights: [T, topk] fp32, softmax over the selected logits times the scale of the
            expert; NaN throughout where a selected logit is NaN or +inf, as torch gives.
        ids: [T, topk] int32, by logit descending, ties to the lower id.
    Raises:
        ContractError: a shape, dtype or stride other than the above.
    Source: SGLang `gemma4_fused_routing`, there from 0.5.13.
    """
    check_rows("router_logits", router_logits)
    tokens, experts = router_logits.shape
    check_vector("per_expert_scale", per_expert_scale, experts, router_logits)
    if experts > MAX_EXPERTS:
        raise ContractError(f"router_logits has {experts} experts; allowed: {MAX_EXPERTS}")
    if not 1 <= topk <= experts:
        raise ContractError(f"topk is {topk}; allowed: [1, {experts}]")
    device = router_logits.device
    block = max(2, 1 << (experts - 1).bit_length())
    rows = interpreted(_ROWS, block)
    router_logits, per_expert_scale = map(aligned, (router_logits, per_expert_scale))
    weights = torch.empty((tokens, topk), dtype=torch.float32, device=device)
    ids = torch.empty((tokens, topk), dtype=torch.int32, device=device)
    launch(
        _routing_kernel,
        (cdiv(tokens, rows),),
        router_logits,
        per_expert_scale,
        weights,
        ids,
        router_logits.stride(0),
        tokens,
        E=experts,
        K=topk,
        ROWS=rows,
        BLOCK_E=block,
        BLOCK_K=max(2, 1 << (topk - 1).bit_length()),
        num_warps=_WARPS,
    )
    return weights, ids
