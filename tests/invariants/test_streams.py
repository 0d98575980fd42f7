"""I1, I2, I12, I13 on the packed slots that Triton's kernels read."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.packed_slots import check_packed_slots
from triage.invariants.reads import IndexSpace

PAGE, PAGES = 4, 6
FULL = IndexSpace("full", PAGE, PAGES)
# Request 1 holds pages 1 and 3, request 2 page 2; row 0 is reserved.
R = torch.tensor([[0] * 8, [4, 5, 6, 7, 12, 13, 14, 15], [8, 9, 10, 11, 0, 0, 0, 0]])
REQUESTS = torch.tensor([1, 2])
ENDS = torch.tensor([7, 3])


def stream(window=None, mapping=None):
    tokens = ENDS if window is None else ENDS.clamp(max=window)
    rows = [
        R[r, end - n : end]
        for r, end, n in zip((1, 2), ENDS.tolist(), tokens.tolist(), strict=True)
    ]
    slots = torch.cat(rows)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), tokens.cumsum(0)]).to(torch.int32)
    return offsets, slots if mapping is None else mapping[slots], tokens


def check(offsets, slots, tokens, mapping=None, space=FULL, ends=ENDS):
    return check_packed_slots(
        offsets,
        slots,
        space,
        ends=ends,
        tokens=tokens,
        width=int(tokens.max()),
        req_pool_indices=REQUESTS,
        req_to_token=R,
        full_to_swa=mapping,
    )


@pytest.mark.parametrize("window", [None, 3, 5])
def test_the_slots_that_req_to_token_names_are_silent(window):
    assert check(*stream(window)).total == 0


def test_mapped_slots_are_silent_and_full_ids_in_their_place_are_named():
    # GIVEN a mapping that moves every page
    mapping = torch.tensor([*range(4), *range(8, 24), *range(4, 8), -1])
    offsets, swa, tokens = stream(window=3, mapping=mapping)
    assert check(offsets, swa, tokens, mapping).total == 0
    # WHEN the stream holds what the mapping should have translated
    _, full, _ = stream(window=3)
    found = check(offsets, full, tokens, mapping)
    # THEN each slot is a fault, with what it should have been
    assert found.read() == {"I12": 0, "I13": 0, "I2": 6, "I1": 0}
    first = found.violations()[0]
    assert first.tensor == "kv_indices" and first.expected == int(mapping[first.value])


@pytest.mark.parametrize("bad", [0, 3, -1, PAGE * PAGES, 2**40])
def test_a_slot_of_the_dummy_page_or_past_the_pool_is_out_of_range(bad):
    offsets, slots, tokens = stream()
    slots[8] = bad
    found = check(offsets, slots, tokens)
    assert found.read()["I1"] == 1
    spot = found.violations()[0]
    assert (spot.row, spot.column, spot.value) == (1, 1, bad)


def test_with_page_size_one_slot_one_is_real():
    space = IndexSpace("full", 1, PAGE * PAGES)
    offsets, slots, tokens = stream()
    assert check(offsets, slots, tokens, space=space).total == 0
    slots[0] = 0
    assert check(offsets, slots, tokens, space=space).read()["I1"] == 1


def test_offsets_that_count_other_tokens_are_named():
    offsets, slots, tokens = stream()
    offsets[1] += 1
    assert check(offsets, slots, tokens).read()["I12"] == 2


def test_offsets_past_the_buffer_are_a_capacity_fault_and_nothing_is_read_there():
    offsets, slots, tokens = stream()
    found = check(offsets, slots[:-1], tokens)
    assert found.read()["I13"] == 1 and found.read()["I1"] == 0


def test_a_padded_row_is_not_judged():
    offsets, slots, tokens = stream()
    slots[7:] = 0
    found = check_packed_slots(
        offsets,
        slots,
        FULL,
        ends=ENDS,
        tokens=tokens,
        width=7,
        req_pool_indices=torch.tensor([1, 0]),
        req_to_token=R,
    )
    assert found.total == 0
