"""Sizes and the workspace: each check shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch

from triage.invariants import geometry


@pytest.mark.parametrize(
    ("check", "right", "wrong", "invariant"),
    [
        (
            lambda n: geometry.check_capacity("kv_indices", needed=n, capacity=8),
            8,
            9,
            "I13",
        ),
        (
            lambda n: geometry.check_shared_index_range(
                "draft", pool_rows=n, allocator_size=64, page_size=16
            ),
            80,
            79,
            "I19",
        ),
        (
            lambda n: geometry.check_offset("row", max_index=n, stride=2**16),
            2**15 - 1,
            2**15,
            "I21",
        ),
        (
            lambda n: geometry.check_swa_floor(
                swa_slots=n,
                full_slots=640,
                window=47,
                page_size=16,
                longest=640,
                where="",
            ),
            64,
            63,
            "I19",
        ),
        (lambda n: geometry.check_transfer(4, n), 4, 5, "I24"),
        (
            lambda n: geometry.check_budget(tokens=17, page_size=16, loaded_back=1, reserved=n),
            48,
            47,
            "I25",
        ),
    ],
    ids=["capacity", "draft rows", "offsets", "SWA floor", "transfer", "budget"],
)
def test_the_last_legal_size_is_silent_and_the_next_is_named(check, right, wrong, invariant):
    assert check(right) is None
    evidence = check(wrong)
    assert evidence is not None and evidence.invariant == invariant and evidence.total == 1


def test_a_clean_workspace_is_silent_and_a_dirty_counter_is_named():
    # GIVEN a workspace whose counters end at byte 64
    workspace = torch.zeros(128, dtype=torch.uint8)
    workspace[100] = 1
    # WHEN only what follows them is dirty, then a counter
    clean = geometry.check_workspace(workspace, counter_bytes=64)
    workspace[9] = 1
    dirty = geometry.check_workspace(workspace, counter_bytes=64)
    # THEN only the counter is a fault
    assert clean.total == 0
    assert dirty.read() == {"I27": 1} and dirty.violations()[0].row == 2


@pytest.mark.parametrize(
    "sizes",
    [
        {"full_slots": 48, "longest": 48},
        {"full_slots": 640, "longest": 24},
    ],
    ids=["the full side is as short", "no request is as long as the window"],
)
def test_an_swa_side_below_the_window_is_silent_where_no_request_needs_the_window(sizes):
    known = {"swa_slots": 48, "window": 1023, "page_size": 16, "where": ""}
    assert geometry.check_swa_floor(**known, **sizes) is None
