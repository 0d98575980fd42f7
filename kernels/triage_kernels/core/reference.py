"""Plain torch pieces of the references: RMSNorm as Gemma-4 has it, and test inputs.

Gemma-4 multiplies the normalised row by `w`, not by `1 + w` as Gemma 1 to 3 do.
Source: transformers `Gemma4RMSNorm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from triage_kernels.core.models import VARIANTS
from triage_kernels.core.spec import Case


def normed(x: Tensor, weight: Tensor | None, eps: float, dtype: torch.dtype) -> Tensor:
    """x * rsqrt(mean(x^2) + eps) [* w] over the last dimension, all in `dtype`, not rounded."""
    x = x.to(dtype)
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return y if weight is None else y * weight.to(dtype)


_separate_norm: Callable[[Tensor, Tensor | None, float], Tensor] | None = None


@contextmanager
def separate_norms(norm: Callable[[Tensor, Tensor | None, float], Tensor]) -> Iterator[None]:
    """Run the unfused chains on another library's norm kernel: how the bench times SGLang's."""
    global _separate_norm
    _separate_norm = norm
    try:
        yield
    finally:
        _separate_norm = None


def norm_eager(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """One separate norm of the unfused chain: fp32 inside, rounded to the dtype of `x`."""
    if _separate_norm is not None:
        return _separate_norm(x, weight, eps)
    return normed(x, weight, eps, torch.float32).to(x.dtype)


def rows_of(count: int, width: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Gaussian activations [count, width]."""
    return torch.randn(count, width, generator=generator, device=generator.device).to(dtype)


def weight_of(width: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """A norm weight around one."""
    noise = torch.randn(width, generator=generator, device=generator.device)
    return (1 + 0.3 * noise).to(dtype)


def scalar_of(dtype: torch.dtype) -> Tensor:
    """A layer scalar that no sum of powers of two hides behind."""
    return torch.tensor([0.8203125], dtype=dtype)


HIDDEN_REASONS: Mapping[str, str] = {
    "E2B": "narrowest row, 75 % of its tile used",
    "E4B": "62.5 % of its tile used",
    "12B": "nearly fills its tile",
    "26B-A4B": "the MoE model",
    "31B": "widest row, widest tile",
}


def hidden_cases(*, moe: bool | None = None, per_layer: bool | None = None) -> tuple[Case, ...]:
    """One case per model width, optionally only models with experts or with per-layer inputs."""
    return tuple(
        Case(v.name, v.name, {"N": v.hidden}, HIDDEN_REASONS[v.name])
        for v in VARIANTS
        if (moe is None or v.moe == moe)
        and (per_layer is None or (v.per_layer_width > 0) == per_layer)
    )
