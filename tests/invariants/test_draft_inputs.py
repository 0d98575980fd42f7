"""What a draft is fed: padding that is inert, values that are legal, nothing of another replay."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.draft_inputs import (
    DraftInput,
    check_draft_inputs,
    check_lengths_sum,
    check_recorded_view,
    check_spec_rows,
)
from triage.invariants.found import Found


def kinds(*inputs):
    return [each.kind for each in check_draft_inputs(inputs).violations()]


def lengths(*values, real=2, **more):
    return DraftInput("seq_lens", torch.tensor(values), real, **more)


def test_a_buffer_that_holds_its_batch_and_its_fill_is_silent():
    given = torch.tensor([7, 9])
    assert not kinds(lengths(7, 9, 1, 1, inert=1, low=1, high=10, given=given))


def test_padding_is_told_by_its_row_in_the_buffer():
    # GIVEN two real rows and a padded one that names a request
    found = check_draft_inputs([lengths(7, 9, 4, inert=1)]).violations()
    # THEN the row is that of the buffer, not of the padding
    assert [(each.row, each.value, each.expected) for each in found] == [(2, 4, 1)]
    assert found[0].kind == Found.PADDING_NOT_INERT


@pytest.mark.parametrize("value", [0, 10], ids=["below", "at the bound"])
def test_a_real_value_out_of_range_is_told_with_its_range(value):
    (found,) = check_draft_inputs([lengths(7, value, low=1, high=10)]).violations()
    assert (found.kind, found.low, found.high) == (Found.DRAFT_INPUT_OUTSIDE, 1, 10)


def test_a_value_that_the_forward_did_not_bring_was_left_by_another_replay():
    (found,) = check_draft_inputs([lengths(7, 8, given=torch.tensor([7, 9]))]).violations()
    assert (found.kind, found.expected) == (Found.LEFT_OF_ANOTHER_REPLAY, 9)


def test_rows_of_floats_are_compared_and_nan_equals_nan():
    nan = float("nan")
    states = torch.tensor([[1.0, nan], [2.0, 3.0]])
    same = DraftInput("hidden_states", states, 2, given=states.clone())
    other = DraftInput("hidden_states", states, 2, given=torch.tensor([[1.0, nan], [2.0, 4.0]]))
    assert kinds(same) == []
    assert kinds(other) == [Found.LEFT_OF_ANOTHER_REPLAY]


def test_a_replay_without_a_request_is_all_padding():
    assert kinds(lengths(1, 1, real=0, inert=1, low=1, high=9, given=torch.zeros(0))) == []
    assert kinds(lengths(1, 3, real=0, inert=1)) == [Found.PADDING_NOT_INERT]


def test_speculative_state_of_another_number_of_rows_names_the_tensor():
    assert check_spec_rows({"topk_p": 2, "hidden_states": 2}, requests=2) is None
    found = check_spec_rows({"topk_p": 2, "hidden_states": 3}, requests=2)
    assert found is not None and found.found == Found.SPEC_ROWS_NOT_THE_BATCHES
    assert found.summary.startswith("hidden_states") and "3 rows for 2 requests" in found.summary


@pytest.mark.parametrize(("told", "missing"), [(77, 0), (76, 0), (75, 1)])
def test_a_sum_of_lengths_may_be_larger_and_not_smaller_than_the_rows_that_are_planned(
    told, missing
):
    # GIVEN four rows of a bucket, of which a fifth is not planned
    lengths = torch.tensor([20, 37, 18, 1, 99])
    found = check_lengths_sum(told, lengths, rows=4, where="common_template")
    assert (0 if found is None else found.total) == missing


def test_a_graph_recorded_for_another_view_says_what_changed_and_what_it_does_to_the_lengths():
    prepared = {"spec_info": False, "forward_mode": "DECODE", "pool": "SWAKVPool"}
    same = check_recorded_view(prepared, dict(prepared), added=1, where="")
    assert same is None
    found = check_recorded_view(prepared, {**prepared, "spec_info": True}, added=3, where="")
    assert found.kind == Found.RECORDED_FOR_ANOTHER_VIEW and found.facts["added"] == 3
    # THEN another pool alone says nothing of the lengths
    other = check_recorded_view(
        prepared, {**prepared, "pool": "MHATokenToKVPool"}, added=3, where=""
    )
    assert "pool MHATokenToKVPool, not SWAKVPool" in other.summary and "added" not in other.facts
