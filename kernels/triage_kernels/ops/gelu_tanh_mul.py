"""gelu_tanh(gate) * per_layer_input in one launch (PLE layers).

Written as g * sigmoid(2u), which equals 0.5 g (1 + tanh u) and does not cancel: the
tanh form loses every digit for g below about -4, where 1 + tanh(u) is a difference
of nearly equal numbers. It also needs no libdevice.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.guard import check_rows, output
from triage_kernels.core.launch import launch_rows
from triage_kernels.core.models import VARIANTS
from triage_kernels.core.reference import rows_of
from triage_kernels.core.rms import load, store, tile
from triage_kernels.core.spec import Args, Case, Exact, KernelSpec, Output, Outputs, Traffic

SQRT_8_OVER_PI = 1.5957691216057308
CUBIC = 0.044715


@triton.jit
def _gelu_tanh(g):
    t = 1.5957691216057308 * (g + 0.044715 * g * g * g)
    # exp of a non-positive number only: it can underflow to the right answer, not overflow.
    z = tl.exp(-tl.abs(t))
    return g * tl.where(t < 0, z, 1.0) / (1.0 + z)


@triton.jit(do_not_specialize=["M"])
def _gelu_tanh_mul_kernel(
    g_ptr,
    p_ptr,
    out_ptr,
    stride_g,
    stride_p,
    stride_out,
    M,
    N: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    rows, cols, masks = tile(M, N, ROWS, BLOCK)
    wait_for_previous(PDL)
    g = load(g_ptr, stride_g, rows, cols, masks)
    p = load(p_ptr, stride_p, rows, cols, masks)
    for i in tl.static_range(len(cols)):
        store(out_ptr, stride_out, rows, cols[i], masks[i], _gelu_tanh(g[i]) * p[i])


def gemma_gelu_tanh_mul(gate: Tensor, per_layer_input: Tensor, out: Tensor | None = None) -> Tensor:
    """R(gelu_tanh(gate) * per_layer_input): one rounding, to the dtype of `gate`.

    Args:
        gate: [M, P] bf16, fp16 or fp32, last stride 1.
        per_layer_input: like `gate`; in the model a slice of [M, layers, P], so its row
            stride is layers * P.
        out: None for a fresh tensor, else like `gate`; may be the very view of an input.
    Raises:
        ContractError: a shape, dtype, stride or overlap other than the above.
    Source: `gemma_gelu_tanh_mul` of an unreleased SGLang patch.
    """
    check_rows("gate", gate)
    check_rows("per_layer_input", per_layer_input, gate)
    out = output(out, gate, gate=gate, per_layer_input=per_layer_input)
    gate, per_layer_input = map(aligned, (gate, per_layer_input))
    work = aligned(out)
    strides = gate.stride(0), per_layer_input.stride(0), work.stride(0)
    launch_rows(_gelu_tanh_mul_kernel, gate, gate, per_layer_input, work, *strides)
    return written_back(work, out)


def gemma_gelu_tanh_mul_eager(gate: Tensor, per_layer_input: Tensor) -> Tensor:
    """The same in torch: fp32 inside, one rounding."""
    g = gate.float()
    u = SQRT_8_OVER_PI * (g + CUBIC * g**3)
    return (g * torch.sigmoid(u) * per_layer_input.float()).to(gate.dtype)


def gemma_gelu_tanh_mul_unfused(gate: Tensor, per_layer_input: Tensor) -> Tensor:
    """Activation, multiply: two roundings."""
    return torch.nn.functional.gelu(gate, approximate="tanh") * per_layer_input


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    g, p = args["gate"].double(), args["per_layer_input"].double()
    value = g * torch.sigmoid(SQRT_8_OVER_PI * (g + CUBIC * g**3)) * p
    return (Exact(value, (g * p).abs()),)


def make(
    dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
) -> Args:
    n, layers = dims["N"], dims["layers"]
    gate = rows_of(rows, n, dtype, generator) * 2
    every_layer = rows_of(rows, n * layers, dtype, generator).view(rows, layers, n)
    return {"gate": gate, "per_layer_input": every_layer[:, layers // 2]}


def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
    n = dims["N"]
    return Traffic(3 * rows * n * size, 5 * rows * n * size)


SPEC = KernelSpec(
    name="gemma_gelu_tanh_mul",
    summary="R(gelu_tanh(g) * p)",
    fused=gemma_gelu_tanh_mul,
    eager=gemma_gelu_tanh_mul_eager,
    unfused=gemma_gelu_tanh_mul_unfused,
    oracle=oracle,
    make=make,
    cases=tuple(
        Case(v.name, v.name, {"N": v.per_layer_width, "layers": v.layers}, "slice of all layers")
        for v in VARIANTS
        if v.per_layer_width
    ),
    outputs=(Output("out", "one rounding, after the multiply"),),
    rows=("gate", "per_layer_input"),
    vectors=(),
    launches_replaced="2 -> 1",
    traffic=traffic,
    reductions=0,
)
