"""A launch from the flight recorder: no request table, only the pages that the check worked out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import dumps_fixture as dumps
from triage.dump.expected_ids import UNKNOWN, expected_ids, visible
from triage.dump.sections import Ragged
from triage.errors import ReplayError
from triage.replay.deduction import deduce
from triage.replay.eager import run_eager
from triage.replay.fixes import apply_fix
from triage.replay.values import output_error, q_lens_of
from triage.replay.verdict import Outcome


def recorded(whole: bool):
    """The launch of the story; of every entry the right page is known, or of one a row."""
    dump = dumps.make_dump(dumps.SMALL)
    stored, right = dump.tables.page_table, expected_ids(dump)
    if not whole:
        first = visible(dump, right.shape[1]).argmax(axis=1)
        right = np.where(np.arange(right.shape[1]) == first[:, None], right, UNKNOWN)
    told = Ragged.of(right, np.diff(stored.offsets))
    tables = replace(dump.tables, req_to_token=None, mapping=None, expected=told)
    return replace(dump, tables=tables)


@pytest.mark.parametrize("run", [deduce, run_eager], ids=["emulator", "eager"])
def test_state_swap_gives_the_pages_that_the_check_worked_out_at_the_launch(run):
    assert run(recorded(whole=True)).outcome is Outcome.REPRODUCED
    assert run(recorded(whole=True), "state-swap").exit_code == 0


def test_state_swap_is_refused_where_the_right_page_of_an_entry_is_not_known():
    dump = recorded(whole=False)
    rows, entries = len(dump.tables.cache_seqlens), int(visible(dump, 10**4).sum())
    with pytest.raises(ReplayError, match=f"{rows} of {entries} pages are known"):
        apply_fix("state-swap", dump)


def test_an_output_of_which_no_row_can_be_compared_is_no_clean_output():
    # GIVEN ids that all lie in the cache, and no row of which every right page is known
    verdict = run_eager(recorded(whole=False), "clamp")
    # THEN nothing is said of the output, least of all that it is right
    assert verdict.outcome is Outcome.CANNOT_RUN
    assert "no output can be compared" in verdict.reasons[-1]
    # AND what is known of single entries is still told
    assert deduce(recorded(whole=False), "clamp").figures["identity"]["wrong"] > 0


def test_rows_that_could_not_be_compared_are_counted():
    # GIVEN a sound launch, one visible page of whose first row is not known
    dump = dumps.make_dump(dumps.SMALL, "right")
    right = expected_ids(dump)
    right[0, visible(dump, right.shape[1])[0].argmax()] = UNKNOWN
    told = Ragged.of(right, np.diff(dump.tables.page_table.offsets))
    tables = replace(dump.tables, req_to_token=None, mapping=None, expected=told)
    verdict = run_eager(replace(dump, tables=tables))
    rows = len(tables.cache_seqlens)
    assert any(f"in {rows - 1} of {rows} rows" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(("noise", "wrong"), [(0.0, 1), (1e-4, 0)], ids=["repeats", "noisy"])
def test_rows_over_right_pages_tell_whether_a_small_difference_is_a_pages(noise, wrong):
    # GIVEN a kernel with a tolerance, one row of whose table differs and whose output there
    # differs by less than that
    dump = dumps.make_dump(dumps.SMALL, "right")
    right = expected_ids(dump)
    ids = right.copy()
    ids[0, visible(dump, right.shape[1])[0].argmax()] += 1
    runs = iter(range(8))

    def run_table(_dump, _inputs, table):
        out = torch.zeros(int(q_lens_of(dump).sum()), 1) + noise * next(runs)
        out[0] += 1e-3 * (table[0] != right[0]).any()
        return out

    # THEN it is the page's where every other row repeats to the bit, else it may be noise
    assert output_error(dump, None, ids, right, run_table, 0.02)["rows_wrong"] == wrong
