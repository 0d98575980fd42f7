"""Whose hand, without SGLang: who called, and what is kept of a page."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch

from triage.device.syncs import count_syncs
from triage.errors import BrokenLifecycle
from triage.evidence import Evidence, PageEvent, PageHistory
from triage.sglang.allocator import call_sites, page_log, page_recorder
from triage.sglang.allocator.call_sites import Caller, CallSites
from triage.sglang.allocator.page_device_log import DeviceLog
from triage.sglang.allocator.page_log import HostLog, Noted
from triage.sglang.allocator.page_recorder import ALLOCATED, FREED, INSERTED, PageRecorder

PAGE = 16
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.usefixtures("on_host")


def recorder(num_pages: int = 40, page_size: int = PAGE) -> tuple[PageRecorder, CallSites]:
    sites = CallSites()
    device = "cpu" if page_recorder.is_host(DEVICE) else DEVICE
    return PageRecorder(num_pages, page_size, device, sites), sites


def slots(*pages: int) -> torch.Tensor:
    return torch.cat([torch.arange(page * PAGE, page * PAGE + PAGE) for page in pages])


def events(made: PageRecorder, page: int) -> list[tuple[str, int, str]]:
    (known,) = made.of("full", [page])
    return [(each.kind, each.step, each.request) for each in known.events]


def alloc_for_decode(batch, sites: CallSites) -> Caller:
    return sites.caller()


def cache_finished_req(req, sites: CallSites) -> Caller:
    return sites.caller()


NOBODY = Caller(0, None, None)


def test_a_caller_is_told_by_file_line_and_function_and_kept_once():
    sites = CallSites()
    made = [alloc_for_decode(None, sites) for _ in range(2)]
    assert made[0].site == made[1].site
    innermost, above, *_ = sites.frames(made[0].site)
    assert innermost.startswith("test_recorder.py:") and innermost.endswith(" alloc_for_decode")
    assert " test_a_caller_is_told_by_file_line_and_function_and_kept_once" in above
    # AND two places in one function are two callers
    assert alloc_for_decode(None, sites).site != made[0].site


def test_chains_beyond_the_table_are_one_and_say_so(monkeypatch):
    monkeypatch.setattr(call_sites, "MOST", 2)
    sites = CallSites()
    first = alloc_for_decode(None, sites).site
    further = [alloc_for_decode(None, sites).site, cache_finished_req(None, sites).site]
    assert first == 1 and further == [2, 2]
    assert sites.frames(2) == ("more chains of calls than are kept",)


def test_a_page_has_its_newest_event_of_each_kind_whatever_its_age():
    made, _ = recorder()
    made.note(ALLOCATED, slots(3, 4), 1, NOBODY)
    made.note(FREED, slots(3), 2, NOBODY)
    # WHEN so much happens to other pages that no event of page 3 is kept whole
    for step in range(3, 3 + 200):
        made.note(ALLOCATED, slots(7, 8, 9), step, NOBODY)
    # THEN what is kept of it is still there, newest first
    assert events(made, 3) == [("freed", 2, ""), ("allocated", 1, "")]
    assert events(made, 4) == [("allocated", 1, "")]
    assert events(made, 5) == []


@pytest.mark.parametrize("num_pages", [1025, 20_000])
def test_a_pages_history_takes_less_than_64_bytes_whatever_happens(num_pages):
    made, sites = recorder(num_pages=num_pages)
    rng = torch.Generator().manual_seed(0)
    batch = SimpleNamespace(reqs=[SimpleNamespace(rid=f"r{each}") for each in range(64)])
    decode = alloc_for_decode(batch, sites)
    most = 0
    for step in range(40):
        # GIVEN decode steps, prompts of more slots than the small pool has pages, and frees
        first = torch.randint(1, num_pages - 128, (64,), generator=rng)
        made.note(ALLOCATED, first * PAGE + step % PAGE, step, decode)
        prompt = slots(*range(int(first[0]), int(first[0]) + 128))
        for kind in (ALLOCATED, INSERTED, FREED):
            made.note(kind, prompt, step, NOBODY)
            most = max(most, made.bytes_held)
    assert most < 64 * num_pages


def test_the_request_is_the_row_that_the_slot_was_for():
    made, sites = recorder()
    requests = [SimpleNamespace(rid=name) for name in ("a", "b", "c")]
    # GIVEN a decode step, a slot a request, and a prefill of 32 and 16 tokens
    decode = alloc_for_decode(SimpleNamespace(reqs=requests), sites)
    made.note(ALLOCATED, torch.tensor([48, 64, 80]), 1, decode)
    prefill = SimpleNamespace(reqs=requests[:2], extend_lens=[32, 16])
    made.note(ALLOCATED, slots(10, 11, 12), 2, alloc_for_decode(prefill, sites))
    assert [events(made, page)[0][2] for page in (3, 4, 5)] == ["a", "b", "c"]
    assert [events(made, page)[0][2] for page in (10, 11, 12)] == ["a", "a", "b"]
    # AND where the lengths do not say whose a slot is, nobody is named
    unknown = SimpleNamespace(reqs=requests[:2], extend_lens=[5, 5])
    made.note(ALLOCATED, slots(20), 3, alloc_for_decode(unknown, sites))
    assert events(made, 20) == [("allocated", 3, "")]
    # AND a free knows its request from its caller
    made.note(FREED, slots(20), 4, cache_finished_req(requests[1], sites))
    assert events(made, 20)[0] == ("freed", 4, "b")


def test_going_on_in_a_page_is_one_allocation_and_two_callers_are_two():
    made, sites = recorder()
    requests = SimpleNamespace(reqs=[SimpleNamespace(rid="a")])
    for step in range(1, 4):
        made.note(ALLOCATED, torch.tensor([48 + step]), step, alloc_for_decode(requests, sites))
    other = cache_finished_req(SimpleNamespace(rid="z"), sites)
    made.note(ALLOCATED, torch.tensor([60]), 9, other)
    assert events(made, 3) == [("allocated", 9, "z"), ("allocated", 1, "a")]


def test_a_view_that_changes_later_and_ids_outside_the_pool_do_no_harm():
    made, _ = recorder()
    table = slots(5)
    made.note(FREED, table, 1, NOBODY)
    table.fill_(6 * PAGE)
    made.note(FREED, torch.tensor([-1, 10**6, -(10**6), 0]), 2, NOBODY)
    assert events(made, 5) == [("freed", 1, "")]
    assert events(made, 6) == []
    assert made.of("full", [0, 40, 10**6]) == ()


def test_decode_steps_of_the_same_batch_do_not_drive_out_what_was_before():
    made, sites = recorder(num_pages=200)
    requests = [SimpleNamespace(rid=name) for name in ("a", "b", "c")]
    batch = SimpleNamespace(reqs=requests)
    made.note(FREED, slots(5), 1, cache_finished_req(SimpleNamespace(rid="y"), sites))
    made.note(FREED, slots(5), 2, cache_finished_req(SimpleNamespace(rid="z"), sites))
    # WHEN three requests are decoded for longer than the log would last
    for step in range(3, 103):
        table = torch.tensor([10, 60, 110]) * PAGE + (step - 3) // 7 * PAGE + step % PAGE
        made.note(ALLOCATED, table, step, alloc_for_decode(batch, sites))
    # THEN both frees are still whole, and each page has its request and its first allocation
    assert events(made, 5) == [("freed", 2, "z"), ("freed", 1, "y")]
    assert events(made, 60) == [("allocated", 3, "b")]
    assert events(made, 110 + 13)[0][2] == "c"
    # AND the log has an entry a page and a write, not one a step
    assert len(set(made.log.entries(set(range(200)), 102))) < 0.4 * 3 * 100


def test_a_page_that_goes_on_for_another_request_is_two_allocations_by_the_same_caller():
    made, sites = recorder()
    for step in range(1, 20):
        # GIVEN that the rows of a batch change places at step 10
        names = ("a", "b") if step < 10 else ("b", "a")
        batch = SimpleNamespace(reqs=[SimpleNamespace(rid=name) for name in names])
        made.note(ALLOCATED, torch.tensor([48, 64]) + step % PAGE, step, one(batch, sites))
    assert events(made, 3) == [("allocated", 10, "b"), ("allocated", 1, "a")]
    assert events(made, 4) == [("allocated", 10, "a"), ("allocated", 1, "b")]


def one(batch, sites: CallSites) -> Caller:
    return sites.caller()


def test_the_log_keeps_the_newest_and_forgets_the_oldest():
    made, sites = recorder(num_pages=300)
    kept = made.log.capacity
    for step in range(1, 40):
        request = SimpleNamespace(rid=f"r{step}")
        pages = [1 + (step * 37 + each) % 299 for each in range(100)]
        made.note(FREED, slots(*pages), step, cache_finished_req(request, sites))
    # THEN every page has the events of the last `kept` entries, in order, and no other whole
    last: dict[int, list[tuple[str, int, str]]] = {}
    for step in range(39, 39 - kept // 100, -1):
        for each in range(100):
            last.setdefault(1 + (step * 37 + each) % 299, []).append(("freed", step, f"r{step}"))
    for page, expected in last.items():
        assert events(made, page)[: len(expected)] == expected


def test_an_event_beyond_the_position_that_is_kept_names_no_request_rather_than_a_wrong_one():
    made, sites = recorder(num_pages=3000)
    requests = [SimpleNamespace(rid="a"), SimpleNamespace(rid="b")]
    batch = SimpleNamespace(reqs=requests, extend_lens=[1100 * PAGE, 100 * PAGE])
    made.note(ALLOCATED, slots(*range(1, 1201)), 1, alloc_for_decode(batch, sites))
    assert events(made, 1) == events(made, 1000) == [("allocated", 1, "a")]
    assert events(made, 1150) == [("allocated", 1, "")]


def test_numbers_that_begin_anew_leave_no_wrong_event(monkeypatch):
    monkeypatch.setattr(page_log, "ERA", 32)
    made, _ = recorder()
    for step in range(1, 80):
        made.note(FREED, slots(3), step, NOBODY)
    assert [step for _, step, _ in events(made, 3)] == list(range(79, 71, -1))


def test_an_event_on_a_device_is_one_launch_and_waits_for_nothing(on_host, monkeypatch):
    if on_host:
        pytest.skip("on a CPU nothing waits, and the slots are looked at")
    made, _ = recorder(num_pages=200)
    given = torch.tensor([PAGE, 2 * PAGE], device=DEVICE)
    launched = []
    # GIVEN a kernel that is counted; the interpreter itself would look at the slots
    monkeypatch.setattr(made.log, "_launch", lambda *a: launched.append(a))
    with count_syncs(forbid=True) as counts:
        for step in range(128):
            made.note(ALLOCATED, given, step, NOBODY)
    assert len(launched) == 128
    assert counts.total_host_reads == 0 and not counts.launches


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_writes_what_the_host_writes(seed, on_host):
    """GIVEN the same events, views and ids that are none of the pool's among them
    THEN the marks are equal, and of every page the log has the same entries."""
    if on_host:
        pytest.skip("both are looked at in one")
    rng = random.Random(seed)
    torch.manual_seed(seed)
    page_size, num_pages = rng.choice([(1, 700), (16, 90), (24, 60), (64, 300)])
    host, device = (
        log(len(page_recorder.KINDS), num_pages, page_size, *more)
        for log, more in ((HostLog, ()), (DeviceLog, (DEVICE,)))
    )
    rows = torch.randperm(num_pages - 1)[: min(40, num_pages // 2)] + 1
    for number in range(60):
        kind, key = rng.randrange(len(page_recorder.KINDS)), None
        if rng.random() < 0.5:  # a decode step; now and then of another batch
            rows = torch.where(torch.rand(len(rows)) < 0.1, rows % (num_pages - 1) + 1, rows)
            rows = rows if len(set(rows.tolist())) == len(rows) else rows.unique()
            moved = rows * page_size + number % page_size
            key = (rng.randrange(2), (), len(rows))
        else:
            first = rng.randrange(num_pages * page_size)
            moved = torch.arange(first, first + rng.choice([1, 3, 65, 1500])) - 5
            moved = moved[:: rng.choice([1, 1, 2])]
        dtype = rng.choice([torch.int32, torch.int64])
        event = Noted(number, kind, (number + 1) << 40 | number, rng.random() < 0.5, key)
        for log in (host, device):
            log.add(event, moved.to(dtype))
    assert (host.newest()[:, :num_pages][:, 1:] == device.newest()[:, 1:]).all()
    every = set(range(1, num_pages))
    kept = [sorted(log.entries(every, 60), key=lambda each: each[::-1]) for log in (host, device)]
    whole = max(entries[0][2] for entries in kept)  # of the oldest event a part may be gone
    assert whole < 55
    ours, theirs = ([each for each in entries if each[2] > whole] for entries in kept)
    assert ours == theirs


@pytest.mark.parametrize("page_size", [1, 16, 64])
def test_the_page_of_a_slot_follows_the_page_size(page_size):
    made, _ = recorder(page_size=page_size)
    made.note(
        ALLOCATED, torch.tensor([7 * page_size + page_size - 1], dtype=torch.int32), 1, NOBODY
    )
    assert events(made, 7) == [("allocated", 1, "")]


def test_a_step_with_more_events_than_the_mark_can_number_keeps_their_order(monkeypatch):
    monkeypatch.setattr(page_recorder, "_INDEX_BITS", 2)
    made, _ = recorder()
    for _ in range(10):
        made.note(ALLOCATED, slots(3), 1, NOBODY)
    made.note(FREED, slots(3), 2, NOBODY)
    assert events(made, 3)[0] == ("freed", 2, "")


def test_an_error_says_it_behind_what_was_wrong_and_nothing_where_it_is_not_recorded():
    event = PageEvent("freed", 21, ("mem_cache/common.py:103 free_swa",), "#0123456789ab")
    known = PageHistory("full", 1, (event,))
    evidence = Evidence("I6", "page 1 was freed twice", "free", pages=(known,))
    said = str(BrokenLifecycle(evidence, "dump: x"))
    assert said.splitlines()[1:] == [
        "  page 1 of the full pool:",
        "    freed in step 21 for request #0123456789ab by mem_cache/common.py:103 free_swa",
        "dump: x",
    ]
    assert str(BrokenLifecycle(Evidence("I6", "x", "free"), "note")) == "I6: x (free)\nnote"
