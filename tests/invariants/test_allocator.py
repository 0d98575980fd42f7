"""What an allocator hands out: each check shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triage.invariants.allocator import (
    check_allocated,
    check_continuation,
    check_failed_alloc,
    check_last_slots,
)


@pytest.mark.parametrize(
    ("page_size", "slots"),
    [(4, [4, 5, 35]), (1, [1, 32]), (64, []), (64, [95])],
    ids=["first and last legal page", "first and last slot", "nothing", "one"],
)
def test_legal_slots_are_silent(page_size, slots):
    # GIVEN a pool of 32 slots behind its dummy page
    # WHEN slots inside [page_size, 32 + page_size) are checked
    findings = check_allocated(torch.tensor(slots, dtype=torch.int64), size=32, page_size=page_size)
    # THEN nothing is found, the last page included
    assert findings.total == 0


@pytest.mark.parametrize(
    ("page_size", "bad"), [(4, 3), (4, 36), (4, -1), (1, 0), (1, 33), (4, 2**62)]
)
def test_a_slot_of_the_dummy_page_or_past_the_pool_is_named(page_size, bad):
    # GIVEN a pool of 32 slots
    # WHEN one slot lies outside
    findings = check_allocated(torch.tensor([7, bad]), size=32, page_size=page_size)
    # THEN it is the one offender
    assert findings.read() == {"I20": 1}
    assert findings.violations()[0].value == bad and findings.violations()[0].row == 1


@given(st.lists(st.integers(4, 35), max_size=12))
def test_every_further_holder_of_a_slot_is_an_offender(slots):
    # GIVEN any legal slots
    # WHEN they are checked
    findings = check_allocated(torch.tensor(slots, dtype=torch.int32), size=32, page_size=4)
    # THEN exactly the repetitions are found
    assert findings.total == len(slots) - len(set(slots))


def test_a_partial_page_needs_its_swa_side():
    # GIVEN requests of 6, 8 and 5 tokens; the last one's SWA page was evicted
    mapping = torch.zeros(41, dtype=torch.int64)
    mapping[10:12] = torch.tensor([18, 19])
    held, last = torch.tensor([6, 8, 5]), torch.tensor([11, 23, 33])
    # WHEN they are extended
    grows = torch.ones(3, dtype=torch.bool)
    findings = check_continuation(held, grows, last, mapping, size_swa=16, page_size=4)
    # THEN a full last page needs nothing, a partial one must be mapped
    assert findings.total == 1
    assert findings.violations()[0].row == 2 and findings.violations()[0].value == 0


def test_a_new_request_has_nothing_to_continue():
    mapping = torch.tensor([0] * 8 + [-1])
    grows = torch.tensor([True])
    findings = check_continuation(
        torch.tensor([0]), grows, torch.tensor([-1]), mapping, size_swa=4, page_size=4
    )
    assert findings.total == 0


def test_a_failed_allocation_takes_nothing():
    assert check_failed_alloc("full", free_before=5, free_after=5) is None
    evidence = check_failed_alloc("full", free_before=5, free_after=3)
    assert evidence is not None and evidence.total == 2


def test_a_request_goes_on_behind_its_own_last_token():
    # GIVEN three requests in pages of four: 6, 3 and 4 tokens, the last one at its page's end
    table = torch.zeros(4, 12, dtype=torch.int32)
    table[1, :6] = torch.tensor([8, 9, 10, 11, 20, 21])
    table[2, :3] = torch.tensor([16, 17, 18])
    table[3, :4] = torch.tensor([24, 25, 26, 27])
    held, grows = torch.tensor([6, 3, 4, 0]), torch.tensor([True, True, True, True])
    last = torch.tensor([21, 18, 27, -1])

    def judged(last, grows=grows, table=table):
        return check_last_slots(held, grows, last, page_size=4, req_to_token=table)

    # WHEN the right slots are passed, or one is wrong where no page is continued: silence
    assert judged(last).total == 0
    assert judged(torch.tensor([21, 18, 21, 18])).total == 0
    assert judged(last.flip(0), grows & False).total == 0
    # WHEN they are in another order, or name a slot that no row has there
    assert judged(torch.tensor([18, 21, 27, -1])).read() == {"I20": 2}
    found = judged(torch.tensor([21, 30, 27, -1]))
    # THEN those are named; the place in the page alone would tell only some
    assert found.read() == {"I20": 1} and found.violations()[0].value == 30
    assert judged(torch.tensor([21, 30, 27, -1]), table=None).total == 0
    assert judged(torch.tensor([18, 21, 27, -1]), table=None).total == 2
