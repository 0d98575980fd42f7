"""What a call is refused for, and the one question behind it: do two views share memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from triage_kernels.core.errors import ContractError
from triage_kernels.core.guard import check_disjoint, check_writable, output, overlap

view = st.tuples(
    st.integers(0, 60),  # offset
    st.integers(1, 4),  # rows
    st.integers(1, 12),  # width
    st.sampled_from([12, 16, 20]),  # row stride
)


def elements(offset: int, rows: int, width: int, stride: int) -> set[int]:
    return {offset + r * stride + c for r in range(rows) for c in range(width)}


@given(first=view, second=view)
def test_views_that_share_an_element_are_never_called_disjoint(first, second) -> None:
    buffer = torch.zeros(200)
    a, b = (buffer.as_strided(v[1:3], (v[3], 1), v[0]) for v in (first, second))
    if elements(*first) & elements(*second):
        assert overlap(a, b)


@given(first=view, second=view)
def test_column_slices_of_one_buffer_are_told_apart(first, second) -> None:
    # GIVEN two column slices of the same rows of one buffer
    stride, rows = first[3], first[1]
    start_a, start_b = first[0] % stride, second[0] % stride
    assume(start_a + first[2] <= stride and start_b + second[2] <= stride)
    buffer = torch.zeros(rows, stride)
    a = buffer[:, start_a : start_a + first[2]]
    b = buffer[:, start_b : start_b + second[2]]
    # THEN they overlap where their columns do, and only there
    columns = {*range(start_a, start_a + first[2])} & {*range(start_b, start_b + second[2])}
    assert overlap(a, b) == bool(columns)


def test_query_key_and_value_of_one_projection_are_disjoint() -> None:
    q, k, v = torch.zeros(5, 40).split([20, 10, 10], dim=-1)
    check_disjoint("q", q, k=k, v=v)
    with pytest.raises(ContractError, match="k and v share memory"):
        check_disjoint("k", k, v=k)


def test_out_may_be_an_input_itself_but_not_a_shifted_view_of_it() -> None:
    buffer = torch.zeros(80)
    x = buffer[:64].view(4, 16)
    assert output(x, x, x=x) is x
    with pytest.raises(ContractError, match="out and x share memory"):
        output(buffer[8:72].view(4, 16), x, x=x)


def test_rows_written_on_one_another_are_refused() -> None:
    check_writable("q", torch.zeros(3, 8))
    with pytest.raises(ContractError, match="rows that do not overlap"):
        check_writable("q", torch.zeros(1, 8).expand(3, 8))
    with pytest.raises(ContractError, match="rows that do not overlap"):
        check_writable("q", torch.zeros(100).as_strided((3, 8), (4, 1)))
