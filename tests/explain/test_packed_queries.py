"""A wrong output that an H200 recorded: XQA read rows of queries that lie further apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from triage.dump.file import read_dump
from triage.explain import explain
from triage.explain.cause import Confidence

RECORDED = Path(__file__).parents[2] / "dumps" / "h200" / "query_read_as_packed.msgpack"


@pytest.fixture
def dump():
    return read_dump(RECORDED)


def test_it_is_named_with_its_fix_and_not_surer_than_what_was_copied_behind_a_replay(dump):
    (named,) = explain(dump).named
    assert (named.key, named.confidence) == ("query-read-as-packed", Confidence.MEDIUM)
    assert named.fix == "SGLANG_TRIAGE_FIXES=packed-query"
    assert "queries are 2048 elements apart, and this kernel reads 1024 apart" in named.evidence


@pytest.mark.parametrize(
    "other",
    [
        lambda d: replace(d, provenance={**d.provenance, "arch": "sm_100"}),
        lambda d: replace(d, fault=replace(d.fault, facts={**d.fault.facts, "rows_wrong": [0, 1]})),
        lambda d: replace(d, launch=replace(d.launch, tensors={})),
    ],
    ids=["a kernel that is given strides", "row 0 is wrong too", "strides not recorded"],
)
def test_a_wrong_output_that_this_does_not_explain_is_some_mistake_of_the_kernel(dump, other):
    assert [cause.key for cause in explain(other(dump)).named] == ["kernel-wrong-output"]
