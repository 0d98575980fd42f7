"""Top-k routing in one launch: select, softmax over the selected, scale per expert.

The selection is total and stated: by logit descending, NaN of either sign above +inf,
-0 equal to +0, ties to the lower expert id. The weights are what torch makes of the
selected logits, so a NaN or +inf among them turns the row into NaN: a broken router must
not come out as plausible numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned
from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.errors import ContractError
from triage_kernels.core.guard import check_rows, check_vector
from triage_kernels.core.launch import cdiv, interpreted, launch
from triage_kernels.core.reference import rows_of, weight_of
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Misuse, Output, Outputs, Traffic

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
    SHIFT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PDL: tl.constexpr,
):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    experts = tl.arange(0, BLOCK_E)[None, :]
    mask = (rows < T) & (experts < E)
    scales = tl.load(scale_ptr + experts, mask=experts < E, other=1.0).to(tl.float32)
    wait_for_previous(PDL)
    logits = tl.load(logits_ptr + rows * stride + experts, mask=mask, other=0.0).to(tl.float32)
    # Adding zero turns -0 into +0; any NaN becomes the largest positive bit pattern.
    bits = (logits + 0.0).to(tl.int32, bitcast=True)
    bits = tl.where(logits != logits, 0x7FFFFFFF, bits)
    # Signed order of floats as integers: negative numbers get their magnitude flipped.
    key = bits >> SHIFT
    key = tl.where(key < 0, key ^ (0x7FFFFFFF >> SHIFT), key)
    # One integer orders by logit, then by the lower id: 19 + 10 bits of 16-bit logits, else 64.
    lowest = -2147483648 if SHIFT else -9223372036854775808
    packed = key * 1024 if SHIFT else key.to(tl.int64) * 1024
    packed = packed + (BLOCK_E - 1 - experts)
    packed = tl.where(experts < E, packed, lowest)
    lanes = tl.arange(0, BLOCK_K)[None, :]
    chosen = tl.full((ROWS, BLOCK_K), lowest, packed.dtype)
    for k in tl.static_range(K):
        best = tl.max(packed, axis=1)[:, None]
        chosen = tl.where(lanes == k, best, chosen)
        packed = tl.where(packed == best, lowest, packed)
    kept = (rows < T) & (lanes < K)
    ids = tl.where(lanes < K, BLOCK_E - 1 - (chosen & 1023), 0)
    top = (chosen >> 10).to(tl.int32)
    top = tl.where(top < 0, top ^ (0x7FFFFFFF >> SHIFT), top) << SHIFT
    top = top.to(tl.float32, bitcast=True)
    # The first is the largest; the difference, not the maximum, carries a NaN to every lane.
    largest = tl.sum(tl.where(lanes == 0, top, 0.0), axis=1)[:, None]
    e = tl.where(lanes < K, tl.exp(top - largest), 0.0)
    weights = e / tl.sum(e, axis=1)[:, None]
    # From registers: a load that waited for the ids would double the time of a launch.
    scale = tl.gather(tl.broadcast_to(scales, (ROWS, BLOCK_E)), ids, axis=1)
    at = rows * K + lanes
    tl.store(weights_ptr + at, weights * scale, mask=kept)
    tl.store(ids_ptr + at, ids.to(tl.int32), mask=kept)


def gemma4_fused_routing(router_logits: Tensor, per_expert_scale: Tensor, topk: int) -> Outputs:
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
        SHIFT=13 if router_logits.dtype.itemsize == 2 else 0,
        ROWS=rows,
        BLOCK_E=block,
        BLOCK_K=max(2, 1 << (topk - 1).bit_length()),
        num_warps=_WARPS,
    )
    return weights, ids


def gemma4_fused_routing_eager(
    router_logits: Tensor, per_expert_scale: Tensor, topk: int
) -> Outputs:
    """The same in torch: a stable sort is the contract of the selection.

    Its NaN are made positive first: the sort of torch puts them above +inf on a CPU, by
    their sign bit on a GPU, and a cast to bfloat16 on a CPU makes negative ones.
    """
    values = router_logits.float()
    values = torch.where(values.isnan(), torch.nan, values)
    values, ids = values.sort(dim=-1, descending=True, stable=True)
    values, ids = values[:, :topk], ids[:, :topk]
    weights = torch.softmax(values, dim=-1) * per_expert_scale.float()[ids]
    return weights, ids.to(torch.int32)


def gemma4_fused_routing_unfused(
    router_logits: Tensor, per_expert_scale: Tensor, topk: int
) -> Outputs:
    """SGLang's chain: softmax and scale in the dtype of the logits, two roundings."""
    values, ids = torch.topk(router_logits, k=topk, dim=-1)
    weights = torch.softmax(values, dim=-1) * per_expert_scale[ids].to(values.dtype)
    return weights.float(), ids.to(torch.int32)


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    """Exact weights of the selection that was made; the selection has a check of its own."""
    ids = outputs[1].long().clamp(0, args["router_logits"].shape[1] - 1)
    values = args["router_logits"].double().gather(1, ids)
    weights = torch.softmax(values, dim=-1) * args["per_expert_scale"].double()[ids]
    # The exponent's own rounding grows with the spread of the selected logits.
    spread = (values.amax(-1, keepdim=True) - values).abs()
    return (Exact(weights, weights.abs() * (2 + spread)),)


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    e = dims["E"]
    return {
        "router_logits": rows_of(rows, e, dtype, generator) * 2,
        "per_expert_scale": weight_of(e, dtype, generator),
        "topk": dims["K"],
    }


def misuse(args: Args) -> tuple[Misuse, ...]:
    e = args["router_logits"].shape[1]
    return (Misuse("topk above E", {**args, "topk": e + 1}),)


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    e, k = dims["E"], dims["K"]
    fused = rows * (e * size + 8 * k)
    return Traffic(fused, 3 * fused)


SPEC = KernelSpec(
    name="gemma4_fused_routing",
    summary="ids by (logit desc, id asc); softmax_fp32 of those logits * scale[id]",
    fused=gemma4_fused_routing,
    eager=gemma4_fused_routing_eager,
    unfused=gemma4_fused_routing_unfused,
    oracle=oracle,
    make=make,
    cases=(
        Case("26B-A4B", "26B-A4B", {"E": 128, "K": 8}, "the model"),
        Case("E=100 K=6", "26B-A4B", {"E": 100, "K": 6}, "neither is a power of two"),
        Case("E=1", "26B-A4B", {"E": 1, "K": 1}, "nothing to sort"),
        Case("E=K=7", "26B-A4B", {"E": 7, "K": 7}, "everything selected"),
    ),
    outputs=(Output("weights", "fp32, not rounded to the logits' dtype"), Output("ids", "int32")),
    rows=("router_logits",),
    vectors=("per_expert_scale",),
    launches_replaced="5-6 -> 1",
    traffic=traffic,
    reductions=9,
    misuse=misuse,
    judge="routing",
)
