"""Plain torch pieces of the references: RMSNorm as Gemma-4 has it, and test inputs.

Gemma-4 multiplies the normalised row by `w`, not by `1 + w` as Gemma 1 to 3 do.
Source: transformers `Gemma4RMSNorm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from triage_kernels.core.models import EPS, VARIANTS
from triage_kernels.core.spec import Args, Case, Exact, Outputs, Traffic


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


def rounded_once(chain: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The eager twin of a chain of separate steps: the same steps in fp32, rounded at the end.

    The chain rounds to the dtype of its first argument after every step; in fp32 there is
    nothing to round.
    """

    def twin(*given: Any, **named: Any) -> Tensor:
        """The same in torch: fp32 inside, one rounding."""
        first = (*given, *named.values())[0]
        return in_fp32(chain, *given, **named).to(first.dtype)

    return twin


def in_fp32(chain: Callable[..., Tensor], *given: Any, **named: Any) -> Tensor:
    """What `chain` gives for fp32 copies of its floating tensors."""

    def wide(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

    return chain(*map(wide, given), **{name: wide(value) for name, value in named.items()})


def norm_after(
    tail: Callable[..., Tensor],
) -> tuple[Callable[..., Outputs], Callable[..., Outputs]]:
    """Eager twin and unfused chain of `tail` and a norm of its result.

    Both take the arguments of `tail` and, by name, `next_weight`, `next_eps` and `reads`
    ("rounded": the norm reads what is stored, "unrounded": what was computed).
    """

    def eager(
        *given: Any,
        next_weight: Tensor,
        next_eps: float = EPS,
        reads: str = "rounded",
        **named: Any,
    ) -> Outputs:
        """The same in torch: fp32 inside, one rounding per output, `reads` as in the kernel."""
        dtype = (*given, *named.values())[0].dtype
        h = in_fp32(tail, *given, **named)
        stored = h.to(dtype)
        source = stored if reads == "rounded" else h
        return stored, normed(source, next_weight, next_eps, torch.float32).to(dtype)

    def unfused(
        *given: Any,
        next_weight: Tensor,
        next_eps: float = EPS,
        reads: str = "rounded",
        **named: Any,
    ) -> Outputs:
        """The steps of the tail, then a separate norm: `reads` changes nothing."""
        h = tail(*given, **named)
        return h, norm_eager(h, next_weight, next_eps)

    return eager, unfused


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


Kind = Literal["rows", "weight", "scalar", "eps", "reads"]


def row_maker(**kinds: Kind) -> Callable[..., Args]:
    """A `KernelSpec.make` that draws these arguments of a row op, in this order."""

    def make(
        dims: Mapping[str, int], rows: int, dtype: torch.dtype, generator: torch.Generator
    ) -> Args:
        draw: dict[Kind, Callable[[], Any]] = {
            "rows": lambda: rows_of(rows, dims["N"], dtype, generator),
            "weight": lambda: weight_of(dims["N"], dtype, generator),
            "scalar": lambda: scalar_of(dtype),
            "eps": lambda: EPS,
            "reads": lambda: "unrounded" if dims.get("unrounded") else "rounded",
        }
        return {name: draw[kind]() for name, kind in kinds.items()}

    return make


def row_traffic(*, fused: int, unfused: int, weights: int) -> Callable[..., Traffic]:
    """A `KernelSpec.traffic` from how often rows of N are read or written, and weights read."""

    def traffic(dims: Mapping[str, int], rows: int, size: int) -> Traffic:
        n = dims["N"]
        return Traffic((fused * rows + weights) * n * size, (unfused * rows + weights) * n * size)

    return traffic


def norm_exact(x: Tensor, weight: Tensor | None, eps: float) -> Exact:
    """n(x) * weight in fp64."""
    n = normed(x, weight, eps, torch.float64)
    return Exact(n, n.abs())


def tail_exact(y: Exact, args: Args) -> Exact:
    """(y + residual) * scalar in fp64, of an op that has these arguments."""
    r, c = args["residual"].double(), args["scalar"].double()
    return Exact((y.value + r) * c, (y.magnitude + r.abs()) * c.abs())


def norm_of(t: Exact, stored: Tensor | None, weight: Tensor, eps: float) -> Exact:
    """n(t) * weight in fp64; with `stored`, the norm of what was stored of t."""
    source = t.value if stored is None else stored.double()
    scale = torch.rsqrt(source.square().mean(-1, keepdim=True) + eps) * weight.double()
    terms = t.magnitude if stored is None else source.abs()
    return Exact(source * scale, terms * scale.abs())


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
