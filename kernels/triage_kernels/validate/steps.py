"""An unfused chain whose every step is a Triton kernel: what a sanitizer compares fused with.

A sanitizer rewrites Triton kernels and nothing else, so a chain of torch operations would
compute other numbers than it does under one. Inside `triton_steps()` the arithmetic of fp32
tensors that our chains are made of is launches of the kernels here, each written as torch
documents it; selecting, gathering, casting and copying stay torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.overrides import TorchFunctionMode

from triage_kernels.core.errors import KernelError
from triage_kernels.core.launch import cdiv, launch
from triage_kernels.core.reference import separate_norms

_BLOCK = 1024


@triton.jit
def _norm_kernel(
    x_ptr,
    w_ptr,
    out_ptr,
    N: tl.constexpr,
    EPS: tl.constexpr,
    WEIGHTED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + cols, mask=cols < N, other=0.0)
    y = x * tl.rsqrt(tl.sum(x * x, axis=0) * (1.0 / N) + EPS)
    if WEIGHTED:
        y = y * tl.load(w_ptr + cols, mask=cols < N, other=0.0)
    tl.store(out_ptr + row * N + cols, y, mask=cols < N)


@triton.jit
def _mean_kernel(x_ptr, out_ptr, N: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + cols, mask=cols < N, other=0.0)
    tl.store(out_ptr + row, tl.sum(x, axis=0) * (1.0 / N))


@triton.jit
def _softmax_kernel(x_ptr, out_ptr, N: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + cols, mask=cols < N, other=-float("inf"))
    e = tl.where(cols < N, tl.exp(x - tl.max(x, axis=0)), 0.0)
    tl.store(out_ptr + row * N + cols, e / tl.sum(e, axis=0), mask=cols < N)


@triton.jit
def _binary_kernel(a_ptr, b_ptr, out_ptr, COUNT, KIND: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(a_ptr + at, mask=at < COUNT, other=0.0)
    b = tl.load(b_ptr + at, mask=at < COUNT, other=0.0)
    if KIND == "add":
        y = a + b
    elif KIND == "sub":
        y = a - b
    else:
        y = a * b
    tl.store(out_ptr + at, y, mask=at < COUNT)


@triton.jit
def _unary_kernel(
    x_ptr, out_ptr, COUNT, KIND: tl.constexpr, SCALAR: tl.constexpr, BLOCK: tl.constexpr
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < COUNT, other=0.0)
    if KIND == "add":
        y = x + SCALAR
    elif KIND == "mul":
        y = x * SCALAR
    elif KIND == "square":
        y = x * x
    elif KIND == "rsqrt":
        y = tl.rsqrt(x)
    else:
        # 0.5 x (1 + tanh(u)), tanh(u) = 1 - 2 / (exp(2u) + 1): torch's gelu, "tanh".
        u = 0.7978845608028654 * (x + 0.044715 * x * x * x)
        y = 0.5 * x * (1.0 + (1.0 - 2.0 / (tl.exp(2.0 * u) + 1.0)))
    tl.store(out_ptr + at, y, mask=at < COUNT)


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
        N=width,
        EPS=eps,
        WEIGHTED=weight is not None,
        BLOCK=triton.next_power_of_2(width),
        num_warps=4,
    )
    return out


def _by_row(kernel: Any, x: Tensor, out: Tensor) -> Tensor:
    width = x.shape[-1]
    block = triton.next_power_of_2(width)
    launch(kernel, (x.numel() // width,), x, out, N=width, BLOCK=block, num_warps=4)
    return out


def _mean(x: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    if dim != -1 or not keepdim:
        raise KernelError(f"a mean over dimension {dim}; allowed: the last, which is kept")
    return _by_row(_mean_kernel, x.contiguous(), torch.empty_like(x[..., :1].contiguous()))


def _softmax(x: Tensor, dim: int = -1) -> Tensor:
    if dim not in (-1, x.dim() - 1):
        raise KernelError(f"a softmax over dimension {dim}; allowed: the last")
    packed = x.contiguous()
    return _by_row(_softmax_kernel, packed, torch.empty_like(packed))


def _each(kind: str, x: Tensor, scalar: float = 0.0) -> Tensor:
    packed = x.contiguous()
    out = torch.empty_like(packed)
    grid = (cdiv(packed.numel(), _BLOCK),)
    launch(
        _unary_kernel, grid, packed, out, packed.numel(),
        KIND=kind, SCALAR=scalar, BLOCK=_BLOCK, num_warps=4,
    )  # fmt: skip
    return out


def _pairwise(kind: str) -> Callable[..., Tensor]:
    def step(a: Tensor | float, b: Tensor | float) -> Tensor:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            left, right = (t.contiguous() for t in torch.broadcast_tensors(a, b))
            out = torch.empty_like(left)
            grid = (cdiv(left.numel(), _BLOCK),)
            launch(
                _binary_kernel, grid, left, right, out, left.numel(),
                KIND=kind, BLOCK=_BLOCK, num_warps=4,
            )  # fmt: skip
            return out
        x, scalar = (a, b) if isinstance(a, Tensor) else (b, a)
        if kind == "sub" or not isinstance(x, Tensor):
            raise KernelError("a difference with a number; allowed: of tensors")
        return _each(kind, x, float(scalar))

    return step


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate != "tanh":
        raise KernelError(f"a gelu with approximate={approximate!r}; allowed: 'tanh'")
    return _each("gelu", x)


# What torch gives the mode for the operators and functions of our chains.
_STEPS: dict[Any, Callable[..., Tensor]] = {
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), _pairwise("add")),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__), _pairwise("mul")),
    **dict.fromkeys((torch.sub, Tensor.sub, Tensor.__sub__), _pairwise("sub")),
    **dict.fromkeys((torch.square, Tensor.square), lambda x: _each("square", x)),
    **dict.fromkeys((torch.rsqrt, Tensor.rsqrt), lambda x: _each("rsqrt", x)),
    **dict.fromkeys((torch.mean, Tensor.mean), _mean),
    **dict.fromkeys((torch.softmax, Tensor.softmax, torch.nn.functional.softmax), _softmax),
    torch.nn.functional.gelu: _gelu,
}


class _Steps(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        step = _STEPS.get(func)
        tensors = [a for a in args if isinstance(a, Tensor)]
        if step is None or not all(t.dtype == torch.float32 for t in tensors):
            return func(*args, **(kwargs or {}))
        return step(*args, **(kwargs or {}))


@contextmanager
def triton_steps() -> Iterator[None]:
    """Run norms, sums, products, means, softmax and gelu of fp32 tensors as Triton kernels."""
    with separate_norms(_norm), _Steps():
        yield
