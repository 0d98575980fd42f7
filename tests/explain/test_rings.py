"""What traps that only log recorded: less was looked at, so less is named, and less surely."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests import dumps_fixture as dumps
from triage.dump.sections import Dump, Ragged
from triage.evidence import Evidence, Violation
from triage.explain import explain
from triage.explain.cause import Confidence
from triage.invariants.found import Found


def a_write(kind: Found, **facts: object) -> Dump:
    seen = Violation("I3", "out_cache_loc", 2, 0, 1, 16, 656, req_pool_index=1, kind=kind)
    return Dump(Evidence("I3", "a write", "step 8", total=1, violations=(seen,), facts=facts))


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        (Found.WRITE_OUTSIDE_POOL, "illegal-allocation"),
        (Found.WRITE_NOT_MAPPED_SLOT, "stale-translation"),
    ],
)
def test_a_wrong_write_that_the_device_told_has_what_came_before_it_beside(kind, before):
    """Mode raise looks at the allocator's answer first; modes log and contain cannot."""
    told = explain(a_write(kind, step=8, launch=21))
    assert {cause.key for cause in told.named} == {"foreign-write", before}
    assert {cause.confidence for cause in told.named} == {Confidence.MEDIUM}
    assert all("what the allocator handed out" in cause.not_recorded[0] for cause in told.named)
    # GIVEN that the host looked, at the write and at all before it
    (alone,) = explain(a_write(kind)).named
    assert (alone.key, alone.confidence) == ("foreign-write", Confidence.HIGH)


def test_a_token_that_may_be_padding_is_no_wrong_write_of_any_class():
    dump = a_write(Found.WRITE_NOT_MAPPED_SLOT, step=8)
    seen = replace(dump.fault.violations[0], expected=0)
    assert explain(replace(dump, fault=replace(dump.fault, violations=(seen,)))).named == ()


@pytest.mark.parametrize("what", ["block_tables", "cache_seqlens"])
def test_a_form_that_was_only_logged_is_named_without_its_launch(what):
    fault = Evidence(
        "I26",
        f"{what} is torch.int64",
        "launch 3",
        facts={"misread": what},
        kind=Found.FORM_NOT_READ,
    )
    (cause,) = explain(Dump(fault)).named
    assert cause.key == "misread-table" and cause.confidence is Confidence.HIGH


def test_a_ring_that_recorded_something_wrong_is_never_clean():
    # GIVEN a snapshot whose shown launch is sound, of a run in which a check found something
    sound = dumps.make_dump(dumps.SMALL, "right", role="target")
    entry = {"sequence": 4, "checker_launch": 5, "step": 2, "offenders": 0}
    before = replace(sound, fault=Evidence("", "a snapshot", "", facts={"kind": "snap"}))
    assert explain(replace(before, history=(entry,))).status == "clean"
    later = {"sequence": 5, "checker_launch": 6, "step": 3, "offenders": 2}
    # WHEN it is explained
    found = explain(replace(before, history=(entry, later)))
    # THEN it is not called clean, and says since when
    assert found.status == "unknown"
    assert any("launch 6 (step 3)" in sentence for sentence in found.observed)


@pytest.mark.parametrize("size", [16, 64])
def test_slots_in_a_ring_are_known_by_their_values(size):
    # GIVEN the launch of a ring, without the request table
    dump = dumps.make_dump(dumps.SMALL, "right", role="target")
    launch = replace(dump.launch, page_size=size, num_pages=31)
    tables = replace(
        dump.tables,
        expected=None,
        req_to_token=None,
        req_to_token_exceptions=None,
        mapping=None,
        mapping_exceptions=None,
    )

    def of(values: np.ndarray) -> Dump:
        held = replace(tables, page_table=Ragged(values, dump.tables.page_table.offsets))
        facts = Evidence("", "a crash", "", facts={"kind": "crash"})
        return replace(dump, launch=launch, tables=held, backend=None, fault=facts)

    count = dump.tables.page_table.values.size
    slots = np.arange(1, count + 1, dtype=np.int32) * size
    # WHEN each id is a page's first slot, some past the cache
    (cause,) = explain(of(slots)).named
    assert (cause.key, cause.confidence) == ("slots-as-pages", Confidence.MEDIUM)
    assert cause.not_recorded == ("the request table",)
    # THEN ids that are no such slots between them are enough to say nothing
    slots += np.arange(count, dtype=np.int32) % 2
    assert explain(of(slots)).named == ()


def test_without_the_request_table_rows_of_dummy_pages_have_two_causes():
    # GIVEN the launch of a ring: what I2 demands is known, and no more
    dump = dumps.make_dump(dumps.SMALL, "right", role="target")
    table = dump.tables.page_table
    zeros = Ragged(np.zeros_like(table.values), table.offsets)
    tables = replace(
        dump.tables,
        page_table=zeros,
        expected=Ragged(table.values.astype(np.int64), table.offsets),
        req_to_token=None,
        req_to_token_exceptions=None,
        mapping=None,
        mapping_exceptions=None,
        source="the flight recorder",
    )
    found = explain(replace(dump, tables=tables, backend=None, fault=replace(dump.fault, facts={})))
    assert {cause.key for cause in found.named} == {"other-requests-row", "divided-twice"}
    assert {cause.confidence for cause in found.named} == {Confidence.MEDIUM}
