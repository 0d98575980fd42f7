"""What a dump of `contain` shows of a draft's page that was evicted a token too early."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests import dumps_fixture as dumps
from triage.dump.sections import Dump, Ragged
from triage.explain import explain
from triage.explain.cause import Confidence

SWA_AWARE = {"use_sliding_window_kv_pool": "True"}
SIZES = dumps.SMALL


def edge_evicted(*, keys_visible: int = 1, role: str = "draft", overlap: bool = False) -> Dump:
    """Of each row the oldest visible page is 0 in the table, and 0 is what the mapping said."""
    length = 4 * SIZES.page_size - keys_visible + SIZES.window
    state = dumps.make_state(replace(SIZES, shortest=length, longest=length + 1))
    dump = dumps.make_dump(SIZES, "right", swa_state=SWA_AWARE, role=role, state=state)
    assert dump.tables is not None
    table = dump.tables.page_table.padded(dtype=np.int64)
    table[:, :4] = 0
    ids = Ragged.of(table.astype(np.int32), np.full(len(table), table.shape[1]))
    tables = replace(
        dump.tables,
        page_table=ids,
        expected=ids,
        req_to_token=None,
        req_to_token_exceptions=None,
        mapping=None,
        mapping_exceptions=None,
    )
    server = {"disable_overlap_schedule": not overlap}
    return replace(dump, tables=tables, provenance={**dump.provenance, "server": server})


def test_a_drafts_oldest_page_without_overlap_is_named_and_not_surely():
    (cause,) = explain(edge_evicted()).named
    assert (cause.key, cause.confidence) == ("freed-page", Confidence.MEDIUM)
    assert [(each.row, each.column) for each in cause.rows] == [
        (row, 3) for row in range(SIZES.rows)
    ]
    assert "lengths" in cause.refuted_by[0]


@pytest.mark.parametrize(
    "other", [{"keys_visible": 2}, {"role": "target"}, {"overlap": True}], ids=str
)
def test_what_has_other_causes_too_is_not_named(other):
    """More of the page is gone, the reader asks one token later, or a step lags behind."""
    assert explain(edge_evicted(**other)).named == ()
