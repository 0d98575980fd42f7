"""I3: written slots, shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.reads import IndexSpace
from triage.invariants.writes import check_writes

FULL, SWA = IndexSpace("full", 4, 9), IndexSpace("swa", 4, 5)


def mapping() -> torch.Tensor:
    entries = torch.zeros(37, dtype=torch.int64)
    entries[20:24] = torch.arange(8, 12)
    return entries


def check(loc, swa, **options):
    return check_writes(
        torch.tensor(loc),
        FULL,
        swa_loc=torch.tensor(swa),
        swa_space=SWA,
        full_to_swa=mapping(),
        **options,
    )


def test_legal_writes_and_padding_are_silent():
    # GIVEN two real tokens and two of padding
    loc, swa = [20, 23, 0, 0], [8, 11, 0, 0]
    # WHEN padding is known by count, by request, or only by its slot
    # THEN nothing is found
    assert check(loc, swa, num_real_tokens=2).total == 0
    assert check(loc, swa, req_pool_indices=torch.tensor([3, 0]), tokens_per_row=2).total == 0
    assert check(loc, swa).total == 0


@pytest.mark.parametrize(
    ("loc", "swa", "tensor", "value"),
    [
        ([36, 0], [8, 0], "out_cache_loc", 36),
        ([0, 0], [0, 0], "out_cache_loc", 0),
        ([-1, 0], [8, 0], "out_cache_loc", -1),
        ([20, 5], [8, 0], "out_cache_loc", 5),
        ([20, 0], [9, 0], "swa_loc", 9),
        ([24, 0], [0, 0], "swa_loc", 0),
        ([20, 0], [8, 7], "swa_loc", 7),
    ],
    ids=["past", "dummy", "negative", "padding", "another's", "unmapped", "padding in SWA"],
)
def test_a_wrong_write_is_named(loc, swa, tensor, value):
    # GIVEN one real token and one of padding, one of them wrong
    findings = check(loc, swa, num_real_tokens=1)
    # THEN the first offender is that one
    named = {(v.tensor, v.value) for v in findings.violations()}
    assert (tensor, value) in named and set(findings.read()) == {"I3"}
