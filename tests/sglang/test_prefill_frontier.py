"""What a prefill has just allocated is not counted as evicted from the window."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.sglang.allocator.frontier import Frontier


def prepared(frontier: int, prefix: int, **more: Any) -> list[Evidence]:
    """What is found when a request whose frontier is at `frontier` extends behind `prefix`."""
    found: list[Evidence] = []
    reporter: Any = SimpleNamespace(fire_event=found.append)
    req = SimpleNamespace(req_pool_idx=3, kv=SimpleNamespace(swa_evicted_seqlen=frontier), **more)
    tree = SimpleNamespace(page_size=16)
    batch = SimpleNamespace(reqs=[req], prefix_lens=[prefix], tree_cache=tree)
    Frontier(reporter).around_extend(lambda batch: None, batch)
    return found


def test_a_retracted_request_that_keeps_its_frontier_is_told_at_its_next_prefill():
    (seen,) = prepared(frontier=48, prefix=0, retraction_count=1)
    assert (seen.invariant, seen.kind) == ("I15", Found.FRONTIER_PAST_PREFIX)
    assert "evicted up to token 48; it was retracted 1 times" in seen.summary


@pytest.mark.parametrize(
    "right",
    [
        {"frontier": 0, "prefix": 0},
        {"frontier": 64, "prefix": 64},  # a chunk behind its window
        {"frontier": 64, "prefix": 60, "cache_protected_len": 50},  # up to a whole page
        {"frontier": 96, "prefix": 64, "swa_evict_floor": 90},  # what is shielded from eviction
    ],
)
def test_a_frontier_up_to_the_prefix_is_right(right):
    assert prepared(**right) == []
