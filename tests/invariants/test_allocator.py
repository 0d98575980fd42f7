"""What an allocator hands out: each check shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triage.invariants.allocator import (
    check_allocated,
    check_conservation,
    check_continuation,
    check_failed_alloc,
    check_free_list,
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
    findings = check_continuation(held, last, mapping, size_swa=16, page_size=4)
    # THEN a full last page needs nothing, a partial one must be mapped
    assert findings.total == 1
    assert findings.violations()[0].row == 2 and findings.violations()[0].value == 0


def test_a_new_request_has_nothing_to_continue():
    mapping = torch.tensor([0] * 8 + [-1])
    findings = check_continuation(
        torch.tensor([0]), torch.tensor([-1]), mapping, size_swa=4, page_size=4
    )
    assert findings.total == 0


def test_a_free_list_that_partitions_the_pool_is_silent():
    # GIVEN pages 1 to 7, of which 2 and 5 are held
    held = torch.zeros(8, dtype=torch.bool)
    held[[2, 5]] = True
    free = torch.tensor([7, 1, 3, 6, 4])
    # WHEN the list is checked against them
    findings = check_free_list(free, num_pages=8, held_pages=held)
    # THEN nothing is found
    assert findings.total == 0


@pytest.mark.parametrize(
    ("free", "name"),
    [
        ([7, 1, 3, 6, 4, 7], "free_pages (repeated)"),
        ([7, 1, 3, 6, 4, 0], "free_pages"),
        ([7, 1, 3, 6, 4, 8], "free_pages"),
        ([7, 1, 3, 6, 4, 5], "free_pages (held)"),
        ([7, 1, 3, 6], "pages (leaked)"),
    ],
    ids=["twice", "dummy page", "past the pool", "held", "in neither"],
)
def test_a_page_that_is_free_wrongly_is_named(free, name):
    held = torch.zeros(8, dtype=torch.bool)
    held[[2, 5]] = True
    findings = check_free_list(torch.tensor(free), num_pages=8, held_pages=held)
    assert findings.read() == {"I5": 1}
    assert findings.violations()[0].tensor == name


@given(st.sets(st.integers(1, 30), max_size=30), st.lists(st.integers(1, 30), max_size=6))
def test_every_page_is_free_once_or_held_or_it_is_found(held, extra):
    # GIVEN any split of 30 pages, and pages that the free list names besides
    mask = torch.zeros(31, dtype=torch.bool)
    mask[list(held)] = True
    free = [page for page in range(1, 31) if page not in held]
    # WHEN the list is checked
    findings = check_free_list(
        torch.tensor(free + extra, dtype=torch.int64), num_pages=31, held_pages=mask
    )
    # THEN each addition is one offence, a held one named twice a second
    repeated = len(extra) - len({page for page in extra if page in held})
    assert findings.total == repeated + sum(page in held for page in extra)


def test_the_balance_of_a_pool_is_shown_with_every_term():
    # GIVEN a pool of 96 tokens
    # WHEN 95 of them, then all, then 97 are accounted for
    leaked = check_conservation("full", total=96, free=61, cached=30, held=4)
    twice = check_conservation("full", total=96, free=63, cached=30, held=4)
    # THEN the sentence carries the balance
    assert check_conservation("full", total=96, free=62, cached=30, held=4) is None
    assert leaked is not None and twice is not None
    balance = "free 61 + cached 30 + held 4 = 95 tokens, the full pool has 96 (1 leaked)"
    assert leaked.summary == balance
    assert twice.summary.endswith("(1 counted twice)")


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
