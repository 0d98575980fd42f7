"""Whose hand, where one call moves slots of two pools: one launch, and each pool has its own."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch

from triage.sglang.allocator.call_sites import Caller, CallSites
from triage.sglang.allocator.page_recorder import ALLOCATED, FREED, PageRecorder, write

PAGE = 16
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NOBODY = Caller(0, None, None)


def alloc_for_decode(batch, sites: CallSites) -> Caller:
    return sites.caller()


def test_a_call_that_moves_slots_of_two_pools_is_one_launch_and_each_has_its_own(
    on_host, monkeypatch
):
    if on_host:
        pytest.skip("on a CPU nothing is launched")
    full, swa = (PageRecorder(size, PAGE, DEVICE, CallSites()) for size in (200, 60))
    given = torch.tensor([PAGE, 2 * PAGE], device=DEVICE)
    launched = []
    for made in (full, swa):
        monkeypatch.setattr(made.log, "_launch", lambda *a: launched.append(a))
    # WHEN a call moves slots of both, of one, and twice of one
    for moved, launches in (
        ([(full, ALLOCATED, given), (swa, ALLOCATED, given)], 1),
        ([(full, FREED, given)], 1),
        ([(full, FREED, given), (full, FREED, given)], 2),
    ):
        launched.clear()
        write(moved, 1, NOBODY)
        assert len(launched) == launches


@pytest.mark.parametrize("seed", range(3))
def test_events_of_two_pools_in_one_launch_are_those_of_each(seed, on_host):
    """GIVEN prompts and decode steps of requests with names, in pools of two sizes
    THEN each pool tells of every page what it tells where its events are written alone."""
    rng = random.Random(seed)
    sizes, sites = (300, 90), CallSites()
    device = "cpu" if on_host else DEVICE
    together, alone = (
        [PageRecorder(size, PAGE, device, sites) for size in sizes] for _ in range(2)
    )
    for step in range(1, 40):
        requests = [SimpleNamespace(rid=f"r{each}") for each in range(rng.choice([1, 40]))]
        caller = alloc_for_decode(SimpleNamespace(reqs=requests), sites)
        moved = []
        for size in sizes:
            count = rng.choice([len(requests), 1, 700])
            given = torch.randint(-PAGE, (size + 2) * PAGE, (count,))
            if rng.random() < 0.5:
                given = given.to(torch.int32)
            moved.append(given.to(device))
        kinds = [rng.choice([ALLOCATED, FREED]) for _ in sizes]
        write(list(zip(together, kinds, moved, strict=True)), step, caller)
        for made, kind, slots in zip(alone, kinds, moved, strict=True):
            made.note(kind, slots, step, caller)
    for one, other, size in zip(together, alone, sizes, strict=True):
        assert one.of("full", list(range(size))) == other.of("full", list(range(size)))
        assert sum(len(each.events) for each in one.of("full", list(range(size)))) > size
