"""What balances between two steps: rows fit, pages are held by somebody, locks are held."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from triage.invariants.books import (
    RowBooks,
    check_adds_up,
    check_held_by_somebody,
    check_recorded,
    check_row_span,
    check_rows_fit,
)
from triage.invariants.found import Found
from triage.invariants.tree import check_lock_holders, check_locked_tokens


def pages(*numbers, of=8):
    mask = np.zeros(of, dtype=bool)
    mask[list(numbers)] = True
    return mask


def test_a_request_that_fills_its_row_to_the_last_column_is_in_order():
    assert check_rows_fit([RowBooks(1, 144, 144), RowBooks(2, 0, 0)], row_width=144) == ()


def test_a_request_longer_than_its_row_says_where_the_rest_is():
    # GIVEN a row of 144 columns and a request of 147 tokens
    (found,) = check_rows_fit([RowBooks(1, 9, 9), RowBooks(3, 140, 147)], row_width=144)
    # THEN the sentence has both numbers and the row the rest lies in
    assert (found.invariant, found.found) == ("I14", Found.ROW_TOO_SHORT)
    assert "holds 147 tokens" in found.summary and "the last 3 are in row 4" in found.summary
    assert found.violations[0].req_pool_index == 3


@pytest.mark.parametrize(("committed", "allocated"), [(9, 8), (-1, 8)], ids=["ahead", "negative"])
def test_more_tokens_committed_than_held_is_named(committed, allocated):
    (found,) = check_rows_fit([RowBooks(2, committed, allocated)], row_width=144)
    assert (found.invariant, found.found) == ("I15", Found.COMMITTED_NOT_ALLOCATED)
    assert str(committed) in found.summary and str(allocated) in found.summary


@pytest.mark.parametrize(
    ("start", "stop", "wrong"),
    [(0, 144, False), (144, 144, False), (143, 145, True), (-1, 4, True)],
    ids=["whole row", "empty", "one past", "negative"],
)
def test_a_write_stays_in_its_row(start, stop, wrong):
    found = check_row_span(2, start, stop, row_width=144)
    assert (found is not None) is wrong
    if found is not None:
        assert found.invariant == "I14" and "row 2" in found.summary


def test_a_page_that_neither_a_row_nor_the_tree_names_is_lost_and_the_balance_says_so():
    # GIVEN 7 pages: 1 and 2 are in a row, 2 and 3 in the tree, 4 is held besides
    found = check_held_by_somebody(
        "full", pages(1, 2, 3, 4), pages(1, 2), pages(2, 3), page_size=16
    )
    # THEN every term is told, a page of both counted once
    assert found is not None and found.found == Found.HELD_BY_NOBODY
    assert found.facts["pages"] == [4]
    assert "free 3 + requests 1 + tree 2 = 6, the pool has 7" in found.summary


def test_a_row_that_still_names_a_page_of_before_hides_a_leak_and_makes_none():
    assert check_held_by_somebody("full", pages(1), pages(1, 6), pages(), page_size=1) is None
    assert check_held_by_somebody("full", pages(), pages(1, 6), pages(3), page_size=1) is None


def locks(full, swa, full_held, swa_held, *, complete=True, swa_exact=True):
    """A root with one child and its child; the root's counts are its own."""
    asked = {"full_lock": full, "swa_lock": swa, "full_held": full_held, "swa_held": swa_held}
    given = {name: torch.tensor([9, *counts]) for name, counts in asked.items()}
    return check_lock_holders(
        torch.tensor([-1, 0, 1]), **given, complete=complete, swa_exact=swa_exact
    )


def test_locks_that_are_all_held_are_silent_and_the_roots_are_not_judged():
    assert not locks([2, 1], [1, 1], [2, 1], [1, 1]).total


def test_a_lock_that_nobody_holds_is_told_only_where_every_holder_is_known():
    found = locks([2, 1], [1, 1], [1, 0], [1, 1])
    assert {each.kind for each in found.violations()} == {Found.LOCK_ABOVE_HOLDERS}
    assert found.violations()[0].expected == 1
    assert not locks([2, 1], [1, 1], [1, 0], [1, 1], complete=False).total


def test_fewer_locks_than_holders_is_told_whoever_else_there_is():
    found = locks([1, 1], [1, 1], [2, 1], [1, 1], complete=False)
    assert [each.kind for each in found.violations()] == [Found.LOCK_BELOW_HOLDERS]


def test_an_swa_side_that_passes_over_tombstones_is_not_told_to_be_too_low():
    assert not locks([1, 1], [0, 1], [1, 1], [1, 1], swa_exact=False).total
    assert locks([1, 1], [0, 1], [1, 1], [1, 1], swa_exact=True).total


@pytest.mark.parametrize(
    ("locked", "held", "complete", "kind"),
    [
        (64, 64, True, None),
        (48, 64, False, Found.LOCK_BELOW_HOLDERS),
        (80, 64, True, Found.LOCK_ABOVE_HOLDERS),
        (80, 64, False, None),  # a holder that nobody knows
    ],
)
def test_locked_tokens_are_those_that_requests_hold(locked, held, complete, kind):
    found = check_locked_tokens(locked, held, complete=complete)
    assert (found and found.kind) == kind
    assert found is None or found.total == 16


BALANCE = {"size": 64, "free": 30, "in_tree": 20, "by_requests": 14, "page_size": 4}


@pytest.mark.parametrize(
    ("spoilt", "kind", "says"),
    [
        ({}, None, ""),
        ({"free": 26}, Found.COUNTS_SHORT, "4 tokens are held by nobody: free 26 + requests 14"),
        ({"in_tree": 28}, Found.COUNTED_TWICE, "8 tokens are counted twice"),
    ],
    ids=["adds up", "a page lost", "two pages in the tree that are free"],
)
def test_a_pool_adds_up_or_says_every_term_of_the_balance(spoilt, kind, says):
    found = check_adds_up("full", **{**BALANCE, **spoilt})
    assert (found and found.kind) == kind
    assert found is None or says in found.summary


def test_slots_that_a_requests_record_does_not_count_are_named_and_a_longer_record_is_right():
    found = check_recorded(3, 37, 48, where="alloc_for_spec_decode")
    assert (
        found.kind == Found.ALLOCATED_NOT_RECORDED and "kv_allocated_len says 37" in found.summary
    )
    assert (
        check_recorded(3, 48, 48, where="") is None and check_recorded(3, 64, 48, where="") is None
    )
