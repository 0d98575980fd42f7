"""A slice of a fused QKV reaches XQA: each row attends with its own queries, or with another's."""

from __future__ import annotations

import pytest
import torch

from triage.sglang.fixes.fix import Need
from triage.sglang.fixes.packed_query import HEADS, PackedQuery, decode, sliced_query
from triage.verify.stand_ins import queries_as_xqa_reads_them as xqa


@pytest.fixture(autouse=True)
def only_where_needed(release):
    if PackedQuery.ask().need is not Need.NEEDED:
        pytest.skip(f"SGLang {release} makes them contiguous already")


def test_without_the_fix_every_row_but_the_first_attends_with_other_queries():
    rows = sliced_query()
    assert (decode(rows, xqa) == rows).all(dim=1).tolist() == [True, False, False]


def test_with_it_every_row_attends_with_its_own(bind):
    fix, rows = bind(PackedQuery()), sliced_query()
    assert torch.equal(decode(rows, xqa), rows)
    assert fix.uses == 1


def test_packed_queries_are_passed_on_as_they_are(bind):
    fix, rows, seen = bind(PackedQuery()), sliced_query().contiguous(), []

    def kernel(query, **_):
        seen.append(query.data_ptr())
        return xqa(query)

    assert torch.equal(decode(rows, kernel), rows)
    assert seen == [rows.data_ptr()] and fix.uses == 0


def test_trtllm_gen_is_left_alone(bind, monkeypatch):
    # GIVEN trtllm-gen in XQA's place
    from triage.sglang.fixes import packed_query

    made = packed_query.uninitialised
    monkeypatch.setattr(packed_query, "uninitialised", lambda cls: _not_xqa(made(cls)))
    fix, rows, seen = bind(PackedQuery()), sliced_query(), []

    def kernel(query, **_):
        seen.append(query.stride(0))
        return query.contiguous()

    decode(rows, kernel)
    assert seen == [2 * HEADS * 8] and fix.uses == 0


def _not_xqa(backend):
    class OfAnotherGpu(type(backend)):
        is_xqa_impl = property(lambda self: False, lambda self, value: None)

    backend.__class__ = OfAnotherGpu
    return backend
