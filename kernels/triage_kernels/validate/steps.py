"""An unfused chain whose every step is a Triton kernel: what a sanitizer compares fused with.

A sanitizer rewrites Triton kernels and nothing else, so a chain of torch operations would
compute other numbers than it does under one. Inside `triton_steps()` norms, additions and
multiplications of fp32 tensors are launches of the three kernels here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.overrides import TorchFunctionMode

from triage_kernels.core.launch import cdiv, launch
from triage_kernels.core.reference import separate_norms

_BLOCK = 1024
_ADDS = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
_MULTIPLIES = (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__)


@triton.jit
def _norm_kernel(
    x_ptr, w_ptr, out_ptr, N, EPS: tl.constexpr, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + cols, mask=cols < N, other=0.0)
    y = x * tl.rsqrt(tl.sum(x * x, axis=0) * (1.0 / N) + EPS)
    if WEIGHTED:
        y = y * tl.load(w_ptr + cols, mask=cols < N, other=0.0)
    tl.store(out_ptr + row * N + cols, y, mask=cols < N)


@triton.jit
def _binary_kernel(a_ptr, b_ptr, out_ptr, COUNT, ADD: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(a_ptr + at, mask=at < COUNT, other=0.0)
    b = tl.load(b_ptr + at, mask=at < COUNT, other=0.0)
    tl.store(out_ptr + at, a + b if ADD else a * b, mask=at < COUNT)


def _norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    packed = x.contiguous()
    out = torch.empty_like(packed)
    width = x.shape[-1]
    launch(
        _norm_kernel,
        (packed.numel() // width,),
        packed,
        packed if weight is None else weight.contiguous(),
        out,
        width,
        EPS=eps,
        WEIGHTED=weight is not None,
        BLOCK=triton.next_power_of_2(width),
        num_warps=4,
    )
    return out


class _Steps(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        add = func in _ADDS
        if (not add and func not in _MULTIPLIES) or not all(
            isinstance(a, Tensor) for a in args[:2]
        ):
            return func(*args, **(kwargs or {}))
        a, b = (t.contiguous() for t in torch.broadcast_tensors(*args[:2]))
        out = torch.empty_like(a)
        count = a.numel()
        launch(
            _binary_kernel, (cdiv(count, _BLOCK),), a, b, out, count,
            ADD=add, BLOCK=_BLOCK, num_warps=4,
        )  # fmt: skip
        return out


@contextmanager
def triton_steps() -> Iterator[None]:
    """Run norms, additions and multiplications of tensors as Triton kernels of their own."""
    with separate_norms(_norm), _Steps():
        yield
