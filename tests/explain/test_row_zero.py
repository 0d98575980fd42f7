"""A row that no request may have, and a table that has too few, are two causes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests import dumps_fixture as dumps
from triage.evidence import Evidence
from triage.explain import explain
from triage.invariants.lifecycle import check_request_rows
from triage.sglang.binding.verdicts import with_offenders


@pytest.mark.parametrize(
    ("row", "cause"), [(0, "padding-row-given"), (9, "request-table-too-small")]
)
def test_row_zero_given_to_a_request_is_no_lack_of_rows(row, cause):
    # GIVEN a table of eight rows, and a request that was handed out another than 1 to 7
    rows = torch.tensor([row])
    found = check_request_rows(rows, torch.zeros_like(rows), num_rows=8, row_width=64)
    bare = Evidence("I14", "no row for a request", "ReqToTokenPool.alloc", total=found.total)
    fault = with_offenders(bare, found)
    dump = replace(dumps.make_dump(), fault=fault, launch=None, tables=None, pools=None)
    assert [each.key for each in explain(dump).named] == [cause]
