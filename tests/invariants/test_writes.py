"""I3: written slots, shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.reads import IndexSpace
from triage.invariants.writes import check_own_slots, check_writes

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


def requests():
    """Requests 1 and 2 of six and three tokens in pages of four."""
    rows = torch.zeros(3, 12, dtype=torch.int32)
    rows[1, :6] = torch.tensor([8, 9, 10, 11, 20, 21])
    rows[2, :3] = torch.tensor([16, 17, 18])
    return rows


def own(loc, lengths, table=None, request=(1, 2), **options):
    return check_own_slots(
        torch.tensor(loc),
        torch.tensor(request),
        torch.tensor(lengths, dtype=torch.int32),
        requests() if table is None else table,
        page_size=4,
        **options,
    )


def test_every_mode_writes_where_its_rows_say_the_queries_are():
    # GIVEN a decode, a verify of two tokens, and an extend of four and one
    assert own([21, 18], [6, 3]).total == 0
    assert own([20, 21, 17, 18], [6, 3], q_len=2).total == 0
    offsets = torch.tensor([0, 4, 5], dtype=torch.int32)
    assert own([10, 11, 20, 21, 18], [6, 3], cum_seq_lens_q=offsets).total == 0
    # AND padding: rows of request 0, tokens behind the last row
    assert own([21, 0], [6, 1], request=(1, 0)).total == 0
    assert own([10, 11, 20, 21, 18, 0, 0], [6, 3], cum_seq_lens_q=offsets).total == 0


def test_a_step_that_writes_at_the_slot_of_the_step_before_is_named():
    found = own([20, 17], [6, 3])
    assert found.read() == {"I20": 0, "I3": 2}
    assert found.violations()[0].sentence() == "out_cache_loc[0, 0] = 20, expected 21"


@pytest.mark.parametrize("slot", [0, 19], ids=["dummy", "another request's page"])
def test_where_the_row_is_at_fault_the_write_is_not_blamed(slot):
    table = requests()
    table[1, 5] = slot
    found = own([21, 18], [6, 3], table)
    assert found.read() == {"I20": 1, "I3": 0}
    assert found.violations()[0].expected == 21
