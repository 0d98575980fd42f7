"""Softmax, scale gather and casts after a separate top-k, in one launch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.errors import ContractError
from triage_kernels.core.guard import INTS, check_device, check_rows, check_vector
from triage_kernels.core.launch import cdiv, launch
from triage_kernels.core.reference import rows_of, weight_of
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Misuse, Output, Outputs, Traffic


class Tile(NamedTuple):
    """Rows and warps of a program; up to how many experts all scales are read, not those chosen."""

    rows: int
    warps: int
    scales: int = 0


TILE = Tile(rows=16, warps=4)


# A few lanes of a row are not worth wide loads, so nothing read here is specialised: one
# compilation, and so one order of summation, for every stride and address.
@triton.jit(
    do_not_specialize=[
        "logits_ptr", "ids_ptr", "scale_ptr", "stride_logits", "stride_ids", "T", "E",
    ]
)  # fmt: skip
def _post_topk_kernel(
    logits_ptr,
    ids_ptr,
    scale_ptr,
    weights_ptr,
    out_ids_ptr,
    stride_logits,
    stride_ids,
    T,
    E,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_E: tl.constexpr,
    PDL: tl.constexpr,
):
    if BLOCK_E:
        # Every scale into registers: a load that waits for the ids is a second trip to memory.
        experts = tl.arange(0, BLOCK_E)[None, :]
        scales = tl.load(scale_ptr + experts, mask=experts < E, other=0.0).to(tl.float32)
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    lanes = tl.arange(0, BLOCK_K)[None, :]
    kept = (rows < T) & (lanes < K)
    wait_for_previous(PDL)
    logits = tl.load(logits_ptr + rows * stride_logits + lanes, mask=kept, other=-float("inf"))
    logits = logits.to(tl.float32)
    ids = tl.load(ids_ptr + rows * stride_ids + lanes, mask=kept, other=0).to(tl.int64)
    e = tl.exp(logits - tl.max(logits, axis=1)[:, None])
    e = tl.where(lanes < K, e, 0.0)
    weights = e / tl.sum(e, axis=1)[:, None]
    # An id outside [0, E) reads nothing and says so: its weight is NaN.
    legal = (ids >= 0) & (ids < E)
    if BLOCK_E:
        at = tl.where(legal, ids, 0).to(tl.int32)
        scale = tl.gather(tl.broadcast_to(scales, (ROWS, BLOCK_E)), at, axis=1)
        scale = tl.where(legal, scale, float("nan"))
    else:
        scale = tl.load(scale_ptr + ids, mask=kept & legal, other=float("nan")).to(tl.float32)
    at = rows * K + lanes
    tl.store(weights_ptr + at, weights * scale, mask=kept)
    tl.store(out_ids_ptr + at, ids.to(tl.int32), mask=kept)


def gemma_routing_post_topk(
    topk_logits: Tensor, topk_ids: Tensor, per_expert_scale: Tensor
) -> Outputs:
    """softmax_fp32(topk_logits) * per_expert_scale[topk_ids], and the ids as int32.

    Args:
        topk_logits: [T, K] bf16, fp16 or fp32, last stride 1, any row stride.
        topk_ids: [T, K] int32 or int64, last stride 1, a row stride of its own. An id
            outside [0, E) gives a NaN weight.
        per_expert_scale: [E] packed, any float dtype.
    Returns:
        (weights [T, K] fp32, ids [T, K] int32), fresh.
    Raises:
        ContractError: a shape, dtype or stride other than the above.
    Source: SGLang `gemma_routing_post_topk`, there from 0.5.13.
    """
    check_rows("topk_logits", topk_logits)
    tokens, k = topk_logits.shape
    if topk_ids.shape != topk_logits.shape or topk_ids.dtype not in INTS:
        raise ContractError(
            f"topk_ids is {topk_ids.dtype} of shape {tuple(topk_ids.shape)}; "
            f"allowed: int32 or int64 of shape {tuple(topk_logits.shape)}"
        )
    if k > 1 and topk_ids.stride(1) != 1:
        raise ContractError(f"topk_ids is strided {topk_ids.stride()}; allowed: last stride 1")
    check_device("topk_ids", topk_ids, topk_logits)
    check_vector("per_expert_scale", per_expert_scale, per_expert_scale.shape[0], topk_logits)
    weights = torch.empty((tokens, k), dtype=torch.float32, device=topk_logits.device)
    ids = torch.empty((tokens, k), dtype=torch.int32, device=topk_logits.device)
    block_e = max(2, 1 << (per_expert_scale.shape[0] - 1).bit_length())
    launch(
        _post_topk_kernel,
        (cdiv(tokens, TILE.rows),),
        topk_logits,
        topk_ids,
        per_expert_scale,
        weights,
        ids,
        topk_logits.stride(0),
        topk_ids.stride(0),
        tokens,
        per_expert_scale.shape[0],
        K=k,
        ROWS=TILE.rows,
        BLOCK_K=max(2, 1 << (k - 1).bit_length()),
        BLOCK_E=block_e if block_e <= TILE.scales else 0,
        num_warps=TILE.warps,
    )
    return weights, ids


def gemma_routing_post_topk_eager(
    topk_logits: Tensor, topk_ids: Tensor, per_expert_scale: Tensor
) -> Outputs:
    """The same in torch."""
    weights = torch.softmax(topk_logits.float(), dim=-1)
    return weights * per_expert_scale.float()[topk_ids.long()], topk_ids.to(torch.int32)


def gemma_routing_post_topk_unfused(
    topk_logits: Tensor, topk_ids: Tensor, per_expert_scale: Tensor
) -> Outputs:
    """SGLang's chain: softmax and scale in the dtype of the logits, two roundings."""
    weights = torch.softmax(topk_logits, dim=-1)
    weights = weights * per_expert_scale[topk_ids.long()].to(weights.dtype)
    return weights.float(), topk_ids.to(torch.int32)


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    values = args["topk_logits"].double()
    weights = (
        torch.softmax(values, dim=-1) * args["per_expert_scale"].double()[args["topk_ids"].long()]
    )
    spread = (values.amax(-1, keepdim=True) - values).abs()
    ids = args["topk_ids"].double()
    return Exact(weights, weights.abs() * (2 + spread)), Exact(ids, torch.zeros_like(ids))


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    e, k = dims["E"], dims["K"]
    logits = rows_of(rows, e, dtype, generator) * 2
    values, ids = torch.topk(logits, k=k, dim=-1)
    return {
        "topk_logits": values,
        "topk_ids": ids,
        "per_expert_scale": weight_of(e, dtype, generator),
    }


def misuse(args: Args) -> tuple[Misuse, ...]:
    return (Misuse("ids as floats", {**args, "topk_ids": args["topk_ids"].float()}),)


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    k = dims["K"]
    return Traffic(rows * k * (size + 16), rows * k * (3 * size + 32))


SPEC = KernelSpec(
    name="gemma_routing_post_topk",
    summary="softmax_fp32(topk logits) * scale[id], ids as int32",
    fused=gemma_routing_post_topk,
    eager=gemma_routing_post_topk_eager,
    unfused=gemma_routing_post_topk_unfused,
    oracle=oracle,
    make=make,
    cases=(
        Case("26B-A4B", "26B-A4B", {"E": 128, "K": 8}, "the model"),
        Case("K=6", "26B-A4B", {"E": 100, "K": 6}, "K no power of two"),
        Case("K=1", "26B-A4B", {"E": 128, "K": 1}, "a single expert"),
    ),
    outputs=(Output("weights", "fp32, not rounded to the logits' dtype"), Output("ids", "int32")),
    rows=("topk_logits", "topk_ids"),
    vectors=("per_expert_scale",),
    launches_replaced="3-4 -> 1",
    traffic=traffic,
    reductions=2,
    misuse=misuse,
    unbound=("per_expert_scale",),
)
