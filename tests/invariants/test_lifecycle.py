"""Rows, frontiers and windows of requests: each check shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.lifecycle import check_frontier, check_request_rows, check_window_mapped


def test_rows_that_exist_and_suffice_are_silent():
    findings = check_request_rows(
        torch.tensor([1, 8]), torch.tensor([0, 32]), num_rows=9, row_width=32
    )
    assert findings.total == 0


@pytest.mark.parametrize(("request_index", "length"), [(0, 1), (9, 1), (-1, 1), (3, 33), (3, -1)])
def test_a_missing_or_narrow_row_is_named(request_index, length):
    findings = check_request_rows(
        torch.tensor([request_index]), torch.tensor([length]), num_rows=9, row_width=32
    )
    assert findings.read() == {"I14": 1}


def frontier(evicted, *, committed=40, allocated=48, oldest=39, protected=None):
    one = torch.tensor
    return check_frontier(
        one([evicted]),
        one([committed]),
        one([allocated]),
        one([oldest]),
        window_left=15,
        page_size=4,
        protected=None if protected is None else one([protected]),
    )


def test_a_frontier_behind_the_window_is_silent():
    # GIVEN a query at 39 that sees 15 tokens back, from 24 on
    # WHEN the frontier stands at or before 24, or later because the tree holds 32 tokens
    # THEN nothing is found
    assert frontier(24).total == frontier(0).total == 0
    assert frontier(32, protected=32).total == 0


@pytest.mark.parametrize(
    ("evicted", "options", "tensor"),
    [
        (28, {}, "swa_evicted_seqlen"),
        (22, {}, "swa_evicted_seqlen (page aligned)"),
        (24, {"oldest": 36}, "swa_evicted_seqlen"),
        (44, {"protected": 44}, "swa_evicted_seqlen"),
        (0, {"committed": 49}, "kv_committed_len"),
    ],
    ids=["in the window", "within a page", "an older query", "past the tokens", "not allocated"],
)
def test_a_frontier_that_passes_a_window_is_named(evicted, options, tensor):
    findings = frontier(evicted, **options)
    assert findings.read() == {"I15": 1}
    assert findings.violations()[0].tensor == tensor


def test_every_token_a_query_sees_needs_an_swa_slot():
    # GIVEN 10 tokens in slots 4 to 13, the first 6 evicted from the SWA pool
    req_to_token = torch.zeros(3, 16, dtype=torch.int32)
    req_to_token[2, :10] = torch.arange(4, 14)
    mapping = torch.zeros(20, dtype=torch.int64)
    mapping[10:14] = torch.arange(4, 8)
    rows, lengths = torch.tensor([2, 0]), torch.tensor([10, 1])

    def check(**options):
        return check_window_mapped(rows, lengths, req_to_token, mapping, **options)

    # WHEN a query sees 3 tokens back, then 4, then two queries see 3
    # THEN the first touches only mapped ones, each of the others one evicted token
    assert check(window_left=3).total == 0
    assert check(window_left=4).read() == {"I15": 1}
    more = check(window_left=3, q_len=2)
    assert more.total == 1 and more.violations()[0].column == 4
