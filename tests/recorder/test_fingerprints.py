"""The fingerprint of what a launch reads: what changes it, and what does not."""

from __future__ import annotations

import pytest
import torch

from tests.recorder.test_recorder import DEVICE, FULL, SWA, WINDOW, Traffic, synchronize
from triage.device.checker import DeviceChecker
from triage.device.recorder import FlightRecorder
from triage.invariants.reads import IndexSpace

POOL = IndexSpace("full", 4, 100)
LANES = pytest.mark.parametrize("space", ["full", "swa"])
FORMS = pytest.mark.parametrize("interpret", [False, True], ids=["twin", "kernel"])


def printed(space, table, lengths, requests, *, interpret=False, written=(), by_request=True):
    """The fingerprint of one launch; `written`: locations that the checker sees before it."""
    checker = DeviceChecker(DEVICE, interpret=interpret)
    recorder = FlightRecorder(DEVICE, [FULL, SWA], checker=checker, interpret=interpret)

    def record():
        return recorder.record(
            space,
            table.to(DEVICE),
            lengths.to(DEVICE),
            window_left=WINDOW if space == "swa" else -1,
            req_pool_indices=requests.to(DEVICE) if by_request else None,
        )

    if written:
        assert record()
        checker.check_writes(torch.tensor(written, device=DEVICE), POOL)
    assert record()
    synchronize()
    return recorder.entries()[-1]["fingerprint"]


def launch(seed=3):
    """The first launch of drawn traffic that has two requests of several pages."""
    traffic = Traffic(seed)
    while True:
        table, lengths, requests = traffic.step()
        if len(requests) > 2 and lengths[0] > 8 and lengths[1] > 8 and (requests[:2] > 0).all():
            return table, lengths, requests


@LANES
@FORMS
def test_the_same_tables_have_the_same_fingerprint_and_another_table_has_another(space, interpret):
    # GIVEN a launch, and the same with one page, length or request exchanged for another
    table, lengths, requests = launch()
    sound = printed(space, table, lengths, requests, interpret=interpret)
    newest = int((lengths[0] - 1) // 4)
    other = table.clone()
    other[0, newest] += 1
    longer, owners = lengths.clone(), requests.clone()
    longer[1] -= 1
    owners[1] = 8 if requests[1] != 8 else 7
    # THEN the launch again is the same, and of the others just that table differs
    assert printed(space, table, lengths, requests, interpret=interpret) == sound
    for changed, name in (
        ((other, lengths, requests), "page_table"),
        ((table, lengths, owners), "req_pool_indices"),
    ):
        found = printed(space, *changed, interpret=interpret)
        assert [each for each in sound if sound[each] != found[each]] == [name]
    found = printed(space, table, longer, requests, interpret=interpret)
    assert found["cache_seqlens"] != sound["cache_seqlens"]


@LANES
@FORMS
def test_two_requests_that_exchange_their_pages_are_seen(space, interpret):
    # GIVEN the newest pages of two rows, exchanged: the same ids, the same number of them
    table, lengths, requests = launch()
    columns = (lengths[:2] - 1) // 4
    exchanged = table.clone()
    exchanged[[0, 1], columns.long()] = table[[1, 0], columns.flip(0).long()]
    assert (exchanged != table).any()
    # THEN the table's fingerprint is another
    one, other = (
        printed(space, t, lengths, requests, interpret=interpret) for t in (table, exchanged)
    )
    assert one["page_table"] != other["page_table"]


@LANES
@FORMS
def test_padding_dead_columns_and_the_stride_do_not_matter(space, interpret):
    # GIVEN other ids beyond each row's length and in rows of request 0, in a wider buffer
    table, lengths, requests = launch()
    sound = printed(space, table, lengths, requests, interpret=interpret)
    wide = torch.full((len(table), table.shape[1] + 5), 77, dtype=table.dtype)
    wide[:, : table.shape[1]] = table
    view = wide[:, : table.shape[1]]
    for row, (length, request) in enumerate(zip(lengths.tolist(), requests.tolist(), strict=True)):
        view[row, (0 if request == 0 else -(-length // 4)) :] = 77
    # THEN nothing that a real row reads has changed
    assert printed(space, view, lengths, requests, interpret=interpret) == sound


@pytest.mark.parametrize("seed", range(4))
@LANES
def test_the_kernel_and_its_twin_give_the_same_number(space, seed):
    # GIVEN drawn launches, wild ids among them, and locations written before
    traffic = Traffic(seed)
    for by_request in (True, False):
        drawn = traffic.step()
        both = [
            printed(
                space, *drawn, interpret=interpret, written=(8, 9, 2, -5), by_request=by_request
            )
            for interpret in (False, True)
        ]
        # THEN both agree
        assert both[0] == both[1]


@FORMS
def test_locations_are_those_written_since_the_launch_before(interpret):
    # GIVEN that padding writes to the dummy page
    drawn = launch()
    of = [
        printed("full", *drawn, interpret=interpret, written=written)["out_cache_loc"]
        for written in ((40, 41), (41, 40), (40, 41, 0, 3), ())
    ]
    # THEN the order of locations counts, padding does not, and none is not a number
    assert of[0] not in (None, of[1]) and of[2] == of[0] and of[3] is None


def test_what_the_recorder_was_not_given_is_not_a_number():
    # GIVEN a launch whose requests are not known
    found = printed("full", *launch(), by_request=False)
    # THEN there is no fingerprint of them
    assert found["req_pool_indices"] is None and found["page_table"]
