"""The one way two tensors are compared. Nothing here prints or raises on a difference.

A pure ulp test fails correct kernels, because a sum may cancel; a pure absolute one
passes wrong kernels, because the data may be small. So a result is held to half an ulp
of the exact answer plus a few fp32 roundings of the terms before cancellation
(`against_exact`), and its error as a whole to what one rounding of the exact answer
costs (`Comparison.rel_l2` beside `Comparison.ideal_rel_l2`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triage_kernels.core.spec import Exact

# Measured 1.9 in fp32 emulation; the rest is for approximate rsqrt, divide and exp2,
# contraction and another order of summation on a GPU.
ROUNDINGS = 8.0
FP32_EPS = 2.0**-24
# Below the smallest normal fp32 number a GPU may flush to zero on the way.
FP32_TINY = 2.0**-126

# One rounding of the exact answer costs `ideal_rel_l2`; a second one adds 41 %, so 5 %
# lies far from both. In bf16 that also sees a scale error of 0.053 %, in fp16 of 0.007 %.
FLOOR_FACTOR = 1.05
# fp32 results have no single rounding to compare with: 4e-8 to 8e-8 measured in the
# interpreter, twice that allowed for the approximate instructions of a GPU and once more.
FP32_FLOOR = 4e-7

_MANTISSA = {torch.float32: 23, torch.float16: 10, torch.bfloat16: 7}
_MIN_EXPONENT = {torch.float32: -126, torch.float16: -14, torch.bfloat16: -126}
_BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a result is from the exact answer.

    Attributes:
        excess: largest error over its bound; above 1 is too far.
        at: coordinates of that element; `got` and `want` are its values.
        outside: how many elements exceed their bound.
        special: how many elements differ in being NaN or infinite.
        rel_l2, ideal_rel_l2: error norm over norm, of the result and of the exact
            answer rounded once. Over finite elements.
    """

    count: int
    excess: float
    at: tuple[int, ...]
    got: float
    want: float
    outside: int
    special: int
    rel_l2: float
    ideal_rel_l2: float

    @property
    def within_bound(self) -> bool:
        return self.outside == 0 and self.special == 0

    def describe(self) -> str:
        where = f"[{', '.join(map(str, self.at))}]"
        text = f"{self.excess:.3g} of the bound at {where}: {self.got:.7g}, exact {self.want:.7g}"
        if self.outside:
            text += f"; {self.outside} of {self.count} outside"
        if self.special:
            text += f"; {self.special} differ in NaN or infinity"
        return text


@dataclass(frozen=True, slots=True)
class BitDifference:
    """Where two tensors that should be the same bits are not."""

    count: int
    total: int
    at: tuple[int, ...]
    got: float
    want: float

    def describe(self) -> str:
        if not self.count:
            return f"all {self.total} equal"
        where = f"[{', '.join(map(str, self.at))}]"
        return (
            f"{self.count} of {self.total} differ, first {where}: {self.got!r}, not {self.want!r}"
        )


def bits(tensor: Tensor) -> Tensor:
    """The bit patterns of a floating tensor, or the integers themselves."""
    as_int = _BITS.get(tensor.dtype)
    return tensor if as_int is None else tensor.contiguous().view(as_int)


def ulp(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Spacing of `dtype` at each fp64 `value`, that of the subnormals at least."""
    _, exponent = torch.frexp(value.abs())
    # frexp gives zero the exponent 0: it lies among the subnormals.
    exponent = torch.where(value == 0, _MIN_EXPONENT[dtype], exponent - 1)
    return torch.exp2(exponent.clamp(min=_MIN_EXPONENT[dtype]).double() - _MANTISSA[dtype])


def _worst(score: Tensor) -> tuple[int, ...]:
    flat = int(score.flatten().argmax())
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), score.shape))


def against_exact(got: Tensor, exact: Exact, roundings: float = ROUNDINGS) -> Comparison:
    """Compare a result with the fp64 answer.

    Args:
        got: fp32, fp16 or bf16, the shape of `exact.value`; an element may be off by half
            an ULP of its dtype, `roundings` fp32 roundings of `exact.magnitude`, and
            `exact.slack`. Integers must be equal.
        roundings: fp32 roundings that the result's own arithmetic may make.
    Raises:
        ValueError: if the shapes differ.
    Cost: some thirty passes in fp64 and a few host reads.
    """
    value = exact.value
    if got.shape != value.shape:
        raise ValueError(f"shapes {tuple(got.shape)} and {tuple(value.shape)} cannot be compared")
    if got.numel() == 0:
        return Comparison(0, 0.0, (), 0.0, 0.0, 0, 0, 0.0, 0.0)
    if not got.is_floating_point():
        wrong = got.double() != value
        at = _worst(wrong.double())
        return Comparison(
            got.numel(),
            float(wrong.any()),
            at,
            float(got[at]),
            float(value[at]),
            int(wrong.sum()),
            0,
            0.0,
            0.0,
        )
    wide = got.double()
    rounded = value.to(got.dtype).double()
    finite = wide.isfinite() & rounded.isfinite()
    special = (wide.isnan() != rounded.isnan()) | (wide.isinf() != rounded.isinf())
    special |= wide.isinf() & rounded.isinf() & (wide.sign() != rounded.sign())
    bound = 0.5 * ulp(value, got.dtype) + roundings * FP32_EPS * exact.magnitude + FP32_TINY
    if exact.slack is not None:
        bound = bound + exact.slack
    error = torch.where(finite, (wide - value).abs(), 0.0)
    score = torch.where(finite, error / bound, 0.0)
    at = _worst(torch.where(special, torch.inf, score))
    norm = torch.where(finite, value, 0.0).norm().clamp(min=1e-300)
    ideal = torch.where(finite, rounded - value, 0.0).norm() / norm
    return Comparison(
        got.numel(),
        float(score.max()),
        at,
        float(wide[at]),
        float(value[at]),
        int((score > 1).sum()),
        int(special.sum()),
        float(error.norm() / norm),
        float(ideal),
    )


def floor_of(comparison: Comparison, dtype: torch.dtype) -> float:
    """The largest `rel_l2` that one rounding explains."""
    if dtype == torch.float32:
        return FP32_FLOOR
    return FLOOR_FACTOR * comparison.ideal_rel_l2 + FP32_FLOOR


def rel_l2(got: Tensor, exact: Exact) -> float:
    """Error norm over norm, over the elements finite in both."""
    value = exact.value
    finite = got.double().isfinite() & value.isfinite()
    error = torch.where(finite, got.double() - value, 0.0).norm()
    return float(error / torch.where(finite, value, 0.0).norm().clamp(min=1e-300))


def same_bits(got: Tensor, want: Tensor) -> BitDifference:
    """Compare two tensors of one shape and dtype bit by bit, NaN payloads included."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return BitDifference(max(got.numel(), 1), got.numel(), (), float("nan"), float("nan"))
    differ = bits(got) != bits(want)
    count = int(differ.sum())
    if not count:
        return BitDifference(0, got.numel(), (), 0.0, 0.0)
    at = _worst(differ.double())
    return BitDifference(count, got.numel(), at, float(got[at]), float(want[at]))


def same_specials(got: Tensor, want: Tensor) -> BitDifference:
    """Compare which elements are NaN, +inf or -inf, and nothing else."""
    classes = [
        torch.where(t.isnan(), 3, torch.where(t.isinf(), t.sign().nan_to_num(), 0).int())
        for t in (got.float(), want.float())
    ]
    differ = classes[0] != classes[1]
    if not bool(differ.any()):
        return BitDifference(0, got.numel(), (), 0.0, 0.0)
    at = _worst(differ.double())
    return BitDifference(int(differ.sum()), got.numel(), at, float(got[at]), float(want[at]))
