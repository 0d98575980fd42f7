"""The comparator: what it lets through, what not, and where it points."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from triage_kernels.core.spec import Exact
from triage_kernels.validate.compare import against_exact, floor_of, same_bits, same_specials, ulp

NARROW = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", [*NARROW, torch.float32])
@given(value=st.floats(min_value=-6e4, max_value=6e4, allow_subnormal=False))
def test_an_ulp_is_the_distance_to_the_next_number(dtype: torch.dtype, value: float) -> None:
    # GIVEN a number of the dtype
    number = torch.tensor([value], dtype=torch.float64).to(dtype)
    # THEN adding its ulp lands on the next one away from zero, adding a third does not
    step = ulp(number.double(), dtype)
    away = torch.copysign(step, number.double())
    assert torch.equal((number.double() + away).to(dtype).double(), number.double() + away)
    assert torch.equal((number.double() + away / 3).to(dtype), number)


@pytest.mark.parametrize("dtype", NARROW)
def test_one_rounding_keeps_the_bound_and_the_floor_and_a_second_does_not(
    dtype: torch.dtype,
) -> None:
    # GIVEN an exact sum, rounded once, and the same with the first term rounded before
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 64, 512, dtype=torch.float64, generator=generator)
    exact = Exact(a + b, a.abs() + b.abs())
    once = against_exact((a + b).to(dtype), exact)
    twice = against_exact((a.to(dtype).double() + b).to(dtype), exact)
    # THEN only the first is within the bound and within the floor
    assert once.within_bound and once.rel_l2 <= floor_of(once, dtype)
    assert not twice.within_bound and twice.rel_l2 > floor_of(twice, dtype)


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 6e-4), (torch.float16, 8e-5)])
def test_a_small_systematic_error_shows_in_the_norm(dtype: torch.dtype, error: float) -> None:
    value = torch.randn(64, 512, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    comparison = against_exact((value * (1 + error)).to(dtype), Exact(value, value.abs()))
    assert comparison.rel_l2 > floor_of(comparison, dtype)


def test_the_worst_element_is_named() -> None:
    value = torch.ones(3, 4, dtype=torch.float64)
    got = value.half()
    got[1, 2] = 2.0
    comparison = against_exact(got, Exact(value, value))
    assert comparison.at == (1, 2)
    assert (comparison.got, comparison.want, comparison.outside) == (2.0, 1.0, 1)
    assert "[1, 2]: 2, exact 1; 1 of 12 outside" in comparison.describe()


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_a_special_on_one_side_only_is_a_difference(special: float) -> None:
    value = torch.ones(4, dtype=torch.float64)
    got = value.half()
    got[2] = special
    assert against_exact(got, Exact(value, value)).special == 1
    want = value.clone()
    want[2] = special
    assert against_exact(got, Exact(want, value)).within_bound


def test_bits_tell_zeros_and_nan_payloads_apart() -> None:
    assert same_bits(torch.tensor([0.0, 1.0]), torch.tensor([-0.0, 1.0])).count == 1
    nan = torch.tensor([0x7E00, 0x7E01], dtype=torch.int16).view(torch.float16)
    assert same_bits(nan[:1], nan[1:]).count == 1
    assert same_specials(nan[:1], nan[1:]).count == 0


def test_another_shape_or_dtype_is_a_difference_throughout() -> None:
    assert same_bits(torch.zeros(3), torch.zeros(4)).count
    assert same_bits(torch.zeros(3), torch.zeros(3, dtype=torch.float16)).count
    with pytest.raises(ValueError, match="cannot be compared"):
        against_exact(torch.zeros(3), Exact(torch.zeros(4).double(), torch.zeros(4).double()))
