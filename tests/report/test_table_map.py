"""What each entry of a page table is said to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests import dumps_fixture as dumps
from triage.dump.sections import Dump, Ragged
from triage.explain.case import LaunchCase
from triage.report.table_map import BAD, CODE, STATES, TableMap


def map_of(dump: Dump) -> TableMap:
    case = LaunchCase.of(dump)
    assert case is not None
    return TableMap.of(case)


def with_entry(dump: Dump, row: int, column: int, value: int) -> Dump:
    assert dump.tables is not None
    table = dump.tables.page_table
    values = table.values.copy()
    values[table.offsets[row] + column] = value
    return replace(dump, tables=replace(dump.tables, page_table=Ragged(values, table.offsets)))


@pytest.fixture
def right() -> Dump:
    return dumps.make_dump(dumps.SMALL, "right")


def last_column(dump: Dump, row: int) -> int:
    assert dump.tables is not None
    return -(-int(dump.tables.cache_seqlens[row]) // dumps.SMALL.page_size) - 1


def test_a_sound_table_has_no_wrong_entry(right):
    found = map_of(right)
    assert not found.bad.any() and found.worst(9) == []
    assert found.counts()["right"] > 0


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (0, "dummy"),
        (81, "fault"),
        (161, "fault"),
        (162, "zeros"),
        (5000, "zeros"),
        (-1, "negative"),
    ],
)
def test_an_id_is_told_by_its_band(right, value, state):
    # GIVEN a cache of 81 pages, K and V apart, so a descriptor of 162
    found = map_of(with_entry(right, 1, last_column(right, 1), value))
    # THEN that entry is the only wrong one, and says why
    (entry,) = found.worst(9)
    assert (entry["row"], entry["column"], entry["value"]) == (1, last_column(right, 1), value)
    assert entry["state"] == state
    assert entry["slots"] == (None if value < 0 else [value * 16, value * 16 + 16])


def test_the_full_pools_id_in_the_swa_table_is_of_the_wrong_space(right):
    case = LaunchCase.of(right)
    column = last_column(right, 0)
    assert case is not None and case.ids is not None
    full = int(case.ids.full[0, column])
    (entry,) = map_of(with_entry(right, 0, column, full)).worst(9)
    assert entry["state"] == ("space" if full < 81 else "fault")


def test_a_page_of_another_request_names_its_owner(right):
    case = LaunchCase.of(right)
    assert case is not None and case.expected is not None
    theirs = int(case.expected[2, last_column(right, 2)])
    (entry,) = map_of(with_entry(right, 0, last_column(right, 0), theirs)).worst(9)
    assert entry["state"] == "foreign"
    assert entry["owner"] == f"row 2 (request 3), column {last_column(right, 2)}"


def test_a_page_that_nobody_has_is_stale(right):
    case = LaunchCase.of(right)
    assert case is not None and case.expected is not None and case.ids is not None
    column = last_column(right, 0)
    taken = {*case.expected.ravel().tolist(), int(case.ids.full[0, column])}
    free = next(page for page in range(1, 81) if page not in taken)
    (entry,) = map_of(with_entry(right, 0, column, free)).worst(9)
    assert (entry["state"], entry["owner"]) == ("stale", "")


def test_what_no_query_sees_raises_no_alarm(right):
    """Columns past a row's end are never written by SGLang, and hold anything."""
    beyond = last_column(right, 0) + 1
    assert right.tables is not None
    assert beyond < np.diff(right.tables.page_table.offsets)[0], "the row stores its last tile"
    found = map_of(with_entry(right, 0, beyond, 1 << 30))
    assert found.states[0, beyond - found.first_column] == CODE["tile"]
    assert not found.bad.any()


def test_without_a_request_table_nothing_is_called_right(right):
    bare = replace(right, tables=replace(right.tables, req_to_token=None, mapping=None))
    found = map_of(bare)
    assert found.counts()["right"] == 0 and found.counts()["unjudged"] > 0
    assert not found.bad.any()


def test_padded_rows_are_not_judged(right):
    assert right.tables is not None and right.backend is not None
    requests = right.tables.req_pool_indices.copy()
    requests[3] = 0
    lengths = right.tables.cache_seqlens.copy()
    lengths[3] = 1
    padded = replace(
        right,
        tables=replace(right.tables, req_pool_indices=requests, cache_seqlens=lengths),
        backend=replace(right.backend, batch_size=3, padded_batch_size=4),
    )
    assert set(map_of(padded).states[3].tolist()) <= {CODE["padding"], CODE["absent"]}


def test_what_is_wrong_outranks_what_is_not_and_marks_differ():
    first_bad = int(np.argmax(BAD))
    assert BAD[first_bad:].all() and not BAD[:first_bad].any()
    assert len({state.mark for state in STATES}) == len(STATES)


def test_what_the_trap_named_comes_first(right):
    one = last_column(right, 0)
    two = last_column(right, 1)
    dump = with_entry(with_entry(right, 0, one, 5000), 1, two, 0)
    found = map_of(dump)
    assert [each["row"] for each in found.worst(2)] == [0, 1]
    assert [each["row"] for each in found.worst(2, first=[(1, two)])] == [1, 0]
