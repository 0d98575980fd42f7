"""The table and length checks: each shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.invariants.reads import IndexSpace, check_form, check_table

PAGE = 4
FULL = IndexSpace("full", PAGE, num_pages=33)
SWA = IndexSpace("swa", PAGE, num_pages=9)


def clean_batch():
    """Two requests of 10 and 7 tokens in the full pool, and graph padding in row 2."""
    req_to_token = torch.zeros(5, 32, dtype=torch.int32)
    for request, pages in ((3, (7, 2, 30)), (1, (5, 11))):
        slots = [page * PAGE + offset for page in pages for offset in range(PAGE)]
        req_to_token[request, : len(slots)] = torch.tensor(slots, dtype=torch.int32)
    table = torch.full((3, 8), -999, dtype=torch.int32)  # columns past the length are garbage
    table[0, :3] = torch.tensor([7, 2, 30])
    table[1, :2] = torch.tensor([5, 11])
    table[2, :1] = 0
    return {
        "block_tables": table,
        "cache_seqlens": torch.tensor([10, 7, 1], dtype=torch.int32),
        "req_pool_indices": torch.tensor([3, 1, 0]),
        "req_to_token": req_to_token,
    }


def swa_batch():
    """The same in an SWA layer: full page f sits in SWA page f % 8 + 1, the oldest is freed."""
    batch = clean_batch()
    mapping = torch.zeros(33 * PAGE + 1, dtype=torch.int64)
    mapping[-1] = -1
    for full in (2, 30, 5, 11):  # page 7 of request 3 was evicted
        start = (full % 8 + 1) * PAGE
        mapping[full * PAGE : (full + 1) * PAGE] = torch.arange(start, start + PAGE)
    table = batch["block_tables"].clone()
    table[0, :3] = torch.tensor([0, 3, 7])
    table[1, :2] = torch.tensor([6, 4])
    return batch | {"block_tables": table, "full_to_swa": mapping}


def test_a_clean_full_table_is_silent():
    # GIVEN live ids that req_to_token implies, garbage past the lengths, and a padded row
    # WHEN it is checked for a layer without a window
    findings = check_table(**clean_batch(), space=FULL, window_left=-1)
    # THEN nothing is found, and every invariant says so
    assert findings.read() == {"I1": 0, "I12": 0, "I26": 0, "I2": 0}
    assert findings.total == findings.rows_affected == 0
    assert findings.violations() == ()


def test_a_clean_swa_table_with_an_evicted_first_page_is_silent():
    # GIVEN row 0, 10 tokens, whose window of 5 begins at token 5: page 0 is gone
    # WHEN the translated table is checked
    findings = check_table(**swa_batch(), space=SWA, window_left=4)
    # THEN the eviction sentinel below the window is legal
    assert findings.total == 0


def test_the_eviction_sentinel_inside_the_window_is_named():
    # GIVEN the same table
    batch = swa_batch()
    # WHEN the launch also carries 3 more queries, so that the oldest sees token 3
    findings = check_table(**batch, space=SWA, window_left=4, q_len=3)
    # THEN page 0 of row 0 is a fault: a query reads the dummy page
    assert findings.read()["I1"] == 1
    (violation,) = findings.violations()
    assert (violation.row, violation.column, violation.value) == (0, 0, 0)
    assert violation.in_window and violation.low == 1 and violation.req_pool_index == 3


@pytest.mark.parametrize("bad", [-1, 33, 2**31 - 1, -(2**31)])
def test_an_id_outside_the_pool_is_named_with_the_right_one(bad):
    # GIVEN one live entry that no page has
    batch = clean_batch()
    batch["block_tables"][0, 2] = bad
    # WHEN the table is checked
    findings = check_table(**batch, space=FULL, window_left=-1)
    # THEN one entry of one row breaks I1, and the message has value, range and expectation
    assert findings.read() == {"I1": 1, "I12": 0, "I26": 0, "I2": 0}
    assert findings.rows_affected == 1
    expected = f"block_tables[0, 2] = {bad} is outside [1, 33), expected 30"
    assert findings.violations()[0].sentence() == expected


def test_full_pool_ids_in_an_swa_layer_are_caught_while_still_in_range():
    # GIVEN the untranslated table handed to an SWA layer
    batch = swa_batch()
    batch["block_tables"] = clean_batch()["block_tables"]
    # WHEN it is checked with a window that sees everything
    findings = check_table(**batch, space=SWA, window_left=4)
    # THEN ids inside the SWA pool break I2, those beyond it I1
    assert findings.read() == {"I1": 2, "I12": 0, "I26": 0, "I2": 2}
    wrong = [v for v in findings.violations() if v.invariant == "I2"]
    assert [(v.row, v.column, v.value, v.expected) for v in wrong] == [(0, 1, 2, 3), (1, 0, 5, 6)]


def test_an_swa_page_mapped_since_the_table_was_built_is_forgiven_below_the_window_only():
    # GIVEN a table that still names page 8 for the evicted first page
    batch = swa_batch()
    batch["block_tables"][0, 0] = 8
    # WHEN it is checked with that page below, then inside the window
    below = check_table(**batch, space=SWA, window_left=4)
    inside = check_table(**batch, space=SWA, window_left=9)
    # THEN only inside it is somebody else's page
    assert below.total == 0
    assert inside.read()["I2"] == 1 and inside.violations()[0].expected == 0


def test_a_live_column_past_the_width_is_a_form_fault_not_a_crash():
    # GIVEN a length of 33 tokens over 8 columns of 4
    batch = clean_batch()
    batch["cache_seqlens"][2] = 33
    batch["block_tables"][2] = 0
    # WHEN it is checked
    findings = check_table(**batch, space=FULL, window_left=-1)
    # THEN I26 names the length and what the width covers
    assert findings.read() == {"I1": 0, "I12": 0, "I26": 1, "I2": 0}
    sentence = findings.violations()[0].sentence()
    assert sentence == "cache_seqlens[2, 0] = 33 is outside [0, 33)"


@pytest.mark.parametrize(("length", "queries"), [(0, 1), (-5, 1), (7, 8), (7, -1)])
def test_a_real_row_has_a_token_and_no_more_queries_than_tokens(length, queries):
    # GIVEN row 1 with a length or a query count that no mode produces
    batch = clean_batch()
    batch["cache_seqlens"][1] = length
    # WHEN it is checked
    findings = check_table(**batch, space=FULL, window_left=-1, q_len=torch.tensor([1, queries, 1]))
    # THEN I12 fires once
    assert findings.read()["I12"] == 1


def test_padded_rows_may_read_the_dummy_page_but_nothing_outside_the_pool():
    # GIVEN no request indices, and a count of two real rows
    batch = clean_batch()
    del batch["req_pool_indices"], batch["req_to_token"]
    silent = check_table(**batch, space=FULL, window_left=-1, num_real_rows=2)
    as_real = check_table(**batch, space=FULL, window_left=-1, num_real_rows=torch.tensor(3))
    # WHEN the padded row names a page outside the pool
    batch["block_tables"][2, 0] = 33
    outside = check_table(**batch, space=FULL, window_left=-1, num_real_rows=2)
    # THEN page 0 is legal only as padding, and range holds for padding too
    assert silent.total == 0
    assert as_real.read()["I1"] == 1
    assert outside.read()["I1"] == 1


def test_a_request_index_that_no_row_has_is_one_fault_and_no_wild_gather():
    # GIVEN a real row whose request index is far outside req_to_token
    batch = clean_batch()
    batch["req_pool_indices"][1] = 2**40
    # WHEN it is checked
    findings = check_table(**batch, space=FULL, window_left=-1)
    # THEN the index is named once, and the row's ids are not compared with garbage
    assert findings.read() == {"I1": 0, "I12": 0, "I26": 0, "I2": 1}
    assert findings.violations()[0].tensor == "req_pool_indices"


def test_ragged_queries_give_each_row_its_own_window():
    # GIVEN that row 0 brings 3 queries and row 1 one, as a prefix sum
    batch = swa_batch()
    ragged = torch.tensor([0, 3, 4, 5], dtype=torch.int32)
    # WHEN the table is checked
    findings = check_table(**batch, space=SWA, window_left=4, cum_seq_lens_q=ragged)
    # THEN it is judged as with those three numbers
    per_row = check_table(**batch, space=SWA, window_left=4, q_len=torch.tensor([3, 1, 1]))
    assert findings.summary.tolist() == per_row.summary.tolist()
    assert findings.total == 1


def test_an_empty_batch_is_silent():
    findings = check_table(
        torch.empty(0, 8, dtype=torch.int32),
        torch.empty(0, dtype=torch.int32),
        FULL,
        window_left=-1,
    )
    assert findings.total == 0


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_garbage_never_makes_the_check_itself_read_out_of_bounds(data):
    # GIVEN any int32 or int64 in every tensor
    rows, width = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 5))
    ints = st.integers(-(2**31), 2**31 - 1)

    def tensor(count, dtype):
        values = data.draw(st.lists(ints, min_size=count, max_size=count))
        return torch.tensor(values, dtype=dtype)

    # WHEN the table is checked
    findings = check_table(
        tensor(rows * width, torch.int32).reshape(rows, width),
        tensor(rows, torch.int32),
        SWA,
        window_left=data.draw(st.sampled_from([-1, 0, 3, 2**31 - 1])),
        q_len=tensor(rows, torch.int32),
        req_pool_indices=tensor(rows, torch.int64),
        req_to_token=tensor(6, torch.int32).reshape(2, 3),
        full_to_swa=tensor(5, torch.int64),
    )
    # THEN it answers, and its offenders add up
    assert len(findings.violations(limit=10**6)) == findings.total


def test_the_right_form_is_silent():
    batch = clean_batch()
    form = check_form(
        batch["block_tables"],
        batch["cache_seqlens"],
        page_size=PAGE,
        device_of_kernel=torch.device("cpu"),
    )
    assert form == ()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda t, s: (t.long(), s), "block_tables is torch.int64"),
        (lambda t, s: (t[:, :4], s), "block_tables has strides (8, 1), the kernel assumes (4, 1)"),
        (lambda t, s: (t.t().contiguous().t(), s), "strides (1, 3)"),
        (lambda t, s: (t[0], s), "block_tables has 1 dimensions"),
        (lambda t, s: (t, s.long()), "cache_seqlens is torch.int64"),
        (lambda t, s: (t, s[:2]), "block_tables has 3 rows, cache_seqlens 2"),
        (lambda t, s: (t[:2], s[::2]), "cache_seqlens has stride 2"),
        (lambda t, s: (t.to("meta"), s), "block_tables is on meta, the kernel runs on cpu"),
    ],
)
def test_a_form_that_the_kernel_would_misread_is_named(spoil, text):
    # GIVEN a table or lengths of a form that bare pointers cannot carry
    batch = clean_batch()
    table, lengths = spoil(batch["block_tables"], batch["cache_seqlens"])
    # WHEN its form is checked
    faults = check_form(
        table, lengths, page_size=PAGE, device_of_kernel=torch.device("cpu"), where="decode"
    )
    # THEN one of the faults says what the kernel would assume
    assert any(text in fault.summary for fault in faults)
    assert {fault.invariant for fault in faults} == {"I26"}
