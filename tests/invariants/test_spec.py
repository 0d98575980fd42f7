"""Granularity and restored state: each check shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.reads import IndexSpace
from triage.invariants.spec import check_granularity, check_restored

PAGE = 16


@pytest.mark.parametrize(
    ("convert", "tensor"),
    [
        (lambda slot: slot // PAGE, None),
        (lambda slot: slot, "block_tables (slots)"),
        (lambda slot: slot // PAGE // PAGE, "block_tables (divided twice)"),
        (lambda slot: slot // PAGE + 3, None),
    ],
    ids=["once", "never", "twice", "wrong otherwise"],
)
def test_a_table_divided_by_the_page_size_other_than_once_is_named(convert, tensor):
    # GIVEN a request on pages 40 and 75, and padding
    req_to_token = torch.zeros(3, 2 * PAGE, dtype=torch.int32)
    req_to_token[2] = torch.cat([torch.arange(40 * PAGE, 41 * PAGE), torch.arange(1200, 1216)])
    starts = req_to_token[2, ::PAGE]
    table = torch.stack([convert(starts), torch.zeros(2, dtype=torch.int32)])
    # WHEN its granularity is checked
    findings = check_granularity(
        table,
        torch.tensor([20, 1]),
        IndexSpace("full", PAGE, 100),
        req_pool_indices=torch.tensor([2, 0]),
        req_to_token=req_to_token,
    )
    # THEN the mistake is named for both pages, and no other mistake is
    named = {violation.tensor for violation in findings.violations()}
    assert named == ({tensor} if tensor else set())
    assert findings.total == (2 if tensor else 0)


def test_one_small_id_does_not_tell_that_a_table_was_divided_twice():
    # GIVEN a request on pages 5, 40 and 7, and a table that holds 0, 2, 0
    req_to_token = torch.zeros(2, 3 * PAGE, dtype=torch.int32)
    pages = torch.tensor([5, 40, 7], dtype=torch.int32)
    req_to_token[1] = (pages[:, None] * PAGE + torch.arange(PAGE)).reshape(-1)
    # WHEN its granularity is checked, THEN I22 leaves it to I1 and I2
    findings = check_granularity(
        torch.tensor([[0, 2, 0]]),
        torch.tensor([3 * PAGE]),
        IndexSpace("full", PAGE, 100),
        req_pool_indices=torch.tensor([1]),
        req_to_token=req_to_token,
    )
    assert findings.total == 0


def test_state_is_put_back_by_identity():
    # GIVEN two attributes
    pool, flag = object(), True
    before = {"token_to_kv_pool": pool, "use_sliding_window_kv_pool": flag}
    # WHEN they come back, and when one is another object
    changed = check_restored(before, before | {"token_to_kv_pool": object()})
    # THEN only the second is named
    assert check_restored(before, dict(before)) is None
    assert changed is not None and changed.summary == "token_to_kv_pool not restored"
    assert check_restored(before, {}) is not None and check_restored({}, before) is not None
