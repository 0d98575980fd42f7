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
from triage_kernels.core.guard import check_rows, output
from triage_kernels.core.launch import launch_rows
from triage_kernels.core.models import VARIANTS
from triage_kernels.core.rms import load, store, tile

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
):
    rows, cols, masks = tile(M, N, ROWS, BLOCK)
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
