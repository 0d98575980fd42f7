"""Pages that the tree frees under a request: by an insert over a locked prefix, or otherwise."""

from __future__ import annotations

import pytest

from triage.dump.sections import Dump
from triage.evidence import Evidence, PageEvent, PageHistory
from triage.explain import explain
from triage.invariants.found import Found

INSERT = "mem_cache/swa_radix_cache.py:1142 SWARadixCache._insert_helper"
FINISH = "mem_cache/swa_radix_cache.py:463 SWARadixCache.cache_finished_req"


def freed(*frames: str, names_them_too: bool | None = False, kind: str = "freed") -> Dump:
    facts = {} if names_them_too is None else {"which names them too": names_them_too}
    events = (PageEvent(kind, 35, (*frames, FINISH)), PageEvent("allocated", 0))
    fault = Evidence(
        "I17",
        "page 1 is freed by the tree, and token 0 of request 1 still has it",
        "free",
        pool="full",
        total=1,
        facts=facts,
        kind=Found.FREED_UNDER_A_REQUEST,
        pages=(PageHistory("full", 1, events),),
    )
    return Dump(fault=fault)


def test_an_insert_that_frees_a_locked_prefix_is_named_with_the_fix():
    (named,) = explain(freed(INSERT)).named
    assert named.key == "locked-prefix-freed"
    assert "SGLANG_TRIAGE_FIXES=keep-locked-prefix" in named.fix


@pytest.mark.parametrize(
    "other",
    [
        freed(INSERT, names_them_too=True),
        freed(INSERT, names_them_too=None),
        freed("mem_cache/swa_radix_cache.py:661 SWARadixCache.evict"),
        freed(INSERT, kind="allocated"),
    ],
    ids=["the request's own pages, too", "whose is not recorded", "evicted", "allocated since"],
)
def test_where_a_value_is_missing_or_says_otherwise_no_more_is_named_than_before(other):
    assert [cause.key for cause in explain(other).named] == ["freed-page"]
