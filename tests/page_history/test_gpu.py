"""Whose hand on a real GPU: an event waits for nothing, and is legal beside a capture."""

from __future__ import annotations

import pytest
import torch
import triton

from triage.bench.gpu_order import no_sync
from triage.device.direct_launches import HANDED_OVER_THE_SAME_WAY
from triage.sglang.allocator.call_sites import Caller, CallSites
from triage.sglang.allocator.page_device_log import DeviceLog
from triage.sglang.allocator.page_recorder import ALLOCATED, FREED, PageRecorder, write

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

PAGE, PAGES = 64, 4096
NOBODY = Caller(0, None, None)


def events(made: PageRecorder, page: int) -> list[tuple[str, int]]:
    (known,) = made.of("full", [page])
    return [(each.kind, each.step) for each in known.events]


def test_events_of_every_size_and_type_wait_for_nothing_and_are_those_of_the_host():
    made, host = (PageRecorder(PAGES, PAGE, on, CallSites()) for on in ("cuda", "cpu"))
    table = torch.arange(PAGES * PAGE)
    tables = [(each, each.cuda()) for each in (table, table.to(torch.int32))]
    for step in range(1, 30):
        prompt, scattered = slice(step * 7, step * 7 + 8192), slice(step, None, PAGE * 61)
        here, there = tables[step % 2]
        with no_sync():
            made.note(ALLOCATED, there[prompt], step, NOBODY)
            made.note(FREED, there[scattered], step, NOBODY)
        host.note(ALLOCATED, here[prompt], step, NOBODY)
        host.note(FREED, here[scattered], step, NOBODY)
    for page in (1, 9, 61, 62, 127, 2000, PAGES - 1):
        assert events(made, page) == events(host, page)
    assert ("freed", 29) in events(made, 61) and events(made, PAGES - 1) == []


def test_events_of_two_pools_are_one_launch_past_tritons_look_at_them_and_those_of_the_host():
    sizes, kinds, sites = (PAGES, PAGES // 4), (ALLOCATED, FREED), CallSites()
    there = [PageRecorder(size, PAGE, "cuda", sites) for size in sizes]
    here = [PageRecorder(size, PAGE, "cpu", sites) for size in sizes]
    # GIVEN a release of Triton whose launches were read, and slots of either type
    log = there[0].log
    assert isinstance(log, DeviceLog)
    release = ".".join(triton.__version__.split(".")[:2])
    assert log._launch.direct == (release in HANDED_OVER_THE_SAME_WAY)
    wide = torch.arange(PAGES * PAGE)
    tables = [(each, each.cuda()) for each in (wide, wide.to(torch.int32))]
    torch.cuda.synchronize()
    # WHEN calls move slots of both pools, prompts of many blocks beside a few rows
    for step in range(1, 30):
        full, swa = slice(step * 7, step * 7 + 8192), slice(step * 70, step * 70 + step, 2)
        first, second = tables if step % 2 else tables[::-1]
        with no_sync():
            moved = (first[1][full], second[1][swa])
            write(list(zip(there, kinds, moved, strict=True)), step, NOBODY)
        write(list(zip(here, kinds, (first[0][full], second[0][swa]), strict=True)), step, NOBODY)
    # THEN every page of each pool says what it says on the host
    for one, other, size in zip(there, here, sizes, strict=True):
        assert one.of("full", list(range(size))) == other.of("full", list(range(size)))
    assert events(there[1], 1) and events(there[1], PAGES // 4 - 1) == []


def test_an_event_is_launched_on_the_stream_that_is_current():
    made = PageRecorder(PAGES, PAGE, "cuda", CallSites())
    stream, slots = torch.cuda.Stream(), torch.zeros(PAGE, dtype=torch.int64, device="cuda")
    torch.cuda.synchronize()
    # GIVEN a stream on which slots are written behind a long wait
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        slots.fill_(5 * PAGE)
        # WHEN they are noted there
        made.note(ALLOCATED, slots, 1, NOBODY)
        slots.fill_(6 * PAGE)
    # THEN the event has what they were in that order
    assert events(made, 5) == [("allocated", 1)] and events(made, 6) == []


def test_an_event_beside_a_capture_on_another_stream_is_legal_and_noted():
    made = PageRecorder(PAGES, PAGE, "cuda", CallSites())
    slots = torch.arange(PAGE, 3 * PAGE, device="cuda")
    out, stream = torch.zeros(8, device="cuda"), torch.cuda.Stream()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        out.add_(1)
        with torch.cuda.stream(torch.cuda.default_stream()):
            made.note(ALLOCATED, slots, 1, NOBODY)
    graph.replay()
    torch.cuda.synchronize()
    # THEN the page was noted once, at once, and the graph does nothing but its own
    assert events(made, 1) == events(made, 2) == [("allocated", 1)]
    assert out.tolist() == [1.0] * 8
