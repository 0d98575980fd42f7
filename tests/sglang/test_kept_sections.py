"""A launch kept as slots, as sections of a dump: what is lost is said, and size has a limit."""

from __future__ import annotations

import numpy as np
import pytest

from triage.device.kept_slots import LOST, KeptLaunch, KeptRow
from triage.dump.file import decode, encode
from triage.dump.sections import Backend, Dump, Launch, Pool, Pools
from triage.evidence import Evidence, Violation
from triage.sglang.packed_slots.dump import LaunchKind
from triage.sglang.packed_slots.kept import cut_to_size, sections_of

KIND = LaunchKind(
    launch=Launch("triton", 0, 3, 1, 2, 1, 8, 4096, 15, 0, 1, "NHD", True),
    pools=Pools((Pool("swa", "MHATokenToKVPool", 4095, 1, 4096),), "swa", "swa"),
    backend=Backend("target", "DECODE", False, 0, 0),
    cached_only=False,
    mapped=True,
)


def row(tokens: int, request: int, start: int = 0) -> KeptRow:
    own = np.arange(tokens, dtype=np.int32) + 100
    return KeptRow(tokens, start, request, own + 7, own, own + 7)


def wrong(at: int, column: int, value: int, invariant: str = "I1") -> Violation:
    return Violation(invariant, "window_kv_indices", at, column, value, 1, 4096, expected=120)


def whole(kept: KeptLaunch, **found) -> Dump:
    recorded = sections_of(KIND, kept, **found)
    fault = Evidence("I1", "a slot", "step 3")
    return Dump(fault, recorded.launch, recorded.tables, recorded.pools, recorded.backend)


def test_a_window_stands_at_its_positions_with_what_the_request_and_the_mapping_said():
    kept = KeptLaunch(9, 0, 2, (row(4, request=5, start=10), row(4, request=0)))
    dump = decode(encode(whole(kept)))
    assert dump.launch.launch_id == 9 and dump.launch.max_seq_len == 14
    assert dump.tables.page_table.row(0).tolist() == [0] * 10 + [107, 108, 109, 110]
    assert dump.tables.req_to_token.row(0).tolist() == [-1] * 10 + [100, 101, 102, 103]
    assert dump.tables.stored_from.tolist() == [10, 0]
    assert [103, 110] in dump.tables.mapping.tolist()
    # AND a row of request 0 behind the last real one is padding
    assert (dump.backend.batch_size, dump.backend.padded_batch_size) == (1, 2)


def test_what_contain_replaced_stands_as_it_was_packed_and_what_was_moved_is_not_judged():
    # GIVEN a slot outside the pool that was overwritten by 0, and one of a row that was moved
    first = row(4, request=5)
    first.slots[2] = 0
    kept = KeptLaunch(9, 0, 1, (first,))
    dump = whole(kept, offenders=[wrong(0, 2, 9999)], excused=[wrong(0, 3, 110, "I2")])
    # THEN the table has the first as SGLang packed it, and nothing is demanded of the other
    assert dump.tables.page_table.row(0).tolist() == [107, 108, 9999, 110]
    assert dump.tables.req_to_token.row(0).tolist() == [100, 101, 102, -1]
    assert "1 of rows moved meanwhile are not judged" in dump.tables.source
    assert "that the report does not list stand as 0" in dump.tables.source
    assert (
        "does not list" not in whole(kept, offenders=[wrong(0, 2, 9)], complete=True).tables.source
    )


def test_what_could_not_be_kept_is_said():
    unread = row(3, request=6)
    unread.slots[1] = LOST
    kept = KeptLaunch(9, 0, 4, (unread, KeptRow(8, 0, 7, None, None, None)))
    tables = decode(encode(whole(kept))).tables
    assert tables.page_table.row(0).tolist() == [107, 0, 109] and not len(tables.page_table.row(1))
    assert "not recorded: rows from 2 on, of 4" in tables.source
    assert "not recorded: the slots of 1 rows" in tables.source
    assert "1 slots lie past the end of the buffer and stand as 0" in tables.source


@pytest.mark.parametrize("rows", [100, 3])
def test_a_launch_too_large_for_a_reader_keeps_its_wrong_rows(rows):
    # GIVEN rows of 10,000 tokens, of which 78 make a rectangle that a reader takes
    kept = KeptLaunch(9, 0, rows, tuple(row(10_000, request=n + 1) for n in range(rows)))
    found = [wrong(rows - 1, 2, 9999)]
    fault = Evidence("I1", "a slot", "step 3", violations=tuple(found))
    cut, fault, (offenders, excused) = cut_to_size(kept, fault, [found, []])
    # THEN all of a small one stay, else the wrong rows and as many others as fit, told apart
    assert len(cut.rows) == min(rows, 78) and excused == []
    assert [each.request for each in cut.rows][-1] == rows
    assert fault.violations == tuple(offenders) and offenders[0].row == len(cut.rows) - 1
    assert fault.facts.get("rows", [rows - 1])[-1] == rows - 1
    decode(encode(whole(cut, offenders=offenders)))
