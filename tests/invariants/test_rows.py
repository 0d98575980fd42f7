"""I20 in the request table: a row that keeps to its pages, and rows that do not."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.rows import check_row_pages

PAGE = 8


def table():
    """Request 1 holds pages 2 and 5, request 2 page 3 and half of page 6."""
    rows = torch.zeros(3, 32, dtype=torch.int32)
    rows[1, :8], rows[1, 8:16] = torch.arange(16, 24), torch.arange(40, 48)
    rows[2, :8], rows[2, 8:12] = torch.arange(24, 32), torch.arange(48, 52)
    return rows


def check(rows, request, positions, written=None):
    return check_row_pages(
        rows,
        torch.tensor(request),
        torch.tensor(positions),
        page_size=PAGE,
        written=None if written is None else torch.tensor(written),
    )


def test_tokens_that_follow_the_first_of_their_page_are_silent():
    assert check(table(), 1, list(range(16)), [*range(16, 24), *range(40, 48)]).total == 0
    assert check(table(), [1, 2], [15, 11], [47, 51]).total == 0
    # AND a row that was never written has no page to follow
    assert check(table(), 2, [20, 21]).total == 0


@pytest.mark.parametrize(
    ("position", "slot", "written", "says"),
    [
        (12, 44, 44, "req_to_token[0, 0] = 44, expected 52"),
        (12, 53, 53, "req_to_token[0, 0] = 53, expected 52"),
        (16, 0, 52, "req_to_token (written)[0, 0] = 0, expected 52"),
    ],
    ids=["another request's page", "a slot too far", "not written"],
)
def test_a_token_elsewhere_is_named_with_the_slot_that_belongs_there(position, slot, written, says):
    rows = table()
    rows[2, position] = slot
    found = check(rows, [2], [position], [written])
    assert found.read() == {"I20": 1}
    assert found.violations()[0].sentence() == says
    assert found.violations()[0].req_pool_index == 2
