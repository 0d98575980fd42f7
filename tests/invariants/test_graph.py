"""I10 and I11: what a replayed graph is fed, shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.graph import (
    MetadataStamp,
    check_freshness,
    check_padded_tokens,
    check_padding,
)
from triage.invariants.reads import IndexSpace

SPACE = IndexSpace("full", 4, 9)


def padding(table, lengths, requests):
    return check_padding(
        torch.tensor(table, dtype=torch.int32),
        torch.tensor(lengths, dtype=torch.int32),
        SPACE,
        num_real_rows=1,
        req_pool_indices=torch.tensor(requests),
        padded_length=1,
    )


def test_inert_padding_is_silent():
    # dead columns of a padded row mean nothing
    assert padding([[5, 6], [0, 7]], [8, 1], [3, 0]).total == 0


@pytest.mark.parametrize(
    ("table", "lengths", "requests", "tensor"),
    [
        ([[5, 6], [4, 0]], [8, 1], [3, 0], "block_tables"),
        ([[5, 6], [0, 0]], [8, 5], [3, 0], "cache_seqlens"),
        ([[5, 6], [0, 0]], [8, 1], [3, 2], "req_pool_indices"),
    ],
)
def test_a_padded_row_that_carries_an_earlier_request_is_named(table, lengths, requests, tensor):
    findings = padding(table, lengths, requests)
    assert findings.read() == {"I10": 1}
    assert findings.violations()[0].tensor == tensor and findings.violations()[0].row == 1


def test_padded_tokens_are_zero():
    values = {"out_cache_loc": torch.tensor([9, 0, 0]), "positions": torch.tensor([4, 0, 3])}
    assert check_padded_tokens(num_real_tokens=3, **values).total == 0
    findings = check_padded_tokens(num_real_tokens=1, swa_loc=None, **values)
    assert [(v.tensor, v.row) for v in findings.violations()] == [("positions", 2)]


def test_metadata_belongs_to_its_forward_and_batch():
    now = MetadataStamp(forward_id=7, batch_size=3, padded_batch_size=4)
    assert check_freshness(now, now) is None
    stale = check_freshness(MetadataStamp(5, 3, 4), now)
    other = check_freshness(MetadataStamp(7, 3, 8), now)
    assert stale is not None and "(2 later)" in stale.summary
    assert other is not None and "3 rows padded to 8" in other.summary
