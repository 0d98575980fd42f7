"""Whose hand, on SGLang's real classes: the site that is named is the one that was planted."""

from __future__ import annotations

import json

import pytest

from tests import prepared

# Bug -> events of the first page that is named, newest first: kind and function of the caller.
# "_free_twice" and the like are the planted code itself; the others are what it spoilt.
PLANTED = {
    "double-free": [
        ("freed", "_free_twice"),
        ("freed", "_free_twice"),
        ("allocated", "Driver._allocate"),
    ],
    "swa-freed-under-a-live-node": [
        ("SWA side freed", "_swa_freed_under_a_node"),
        ("inserted into the tree", "cache_unfinished_req"),
        ("allocated", "alloc_paged_token_slots_extend"),
    ],
    "leaf-shorter-than-the-window": [
        ("freed", "UnifiedRadixCache._apply_cache_action"),
        ("inserted into the tree", "UnifiedRadixCache.cache_finished_req"),
        ("inserted into the tree", "UnifiedRadixCache.cache_unfinished_req"),
        ("allocated", "alloc_paged_token_slots_extend"),
    ],
    "mapping-read-at-group-end": [
        ("freed", "_recover_inside_a_group"),
        ("allocated", "_recover_inside_a_group"),
    ],
}
FURTHER = {
    "leak-at-finish": [("allocated", "Driver._allocate")],
    "page-handed-out-twice": [("allocated", "Driver._allocate")],
    "free-swa-by-token-again": [
        ("freed", "Driver._free"),
        ("allocated", "Driver._allocate"),
    ],
    "two-full-pages-one-swa-page": [("allocated", "Driver._allocate")],
    "remembered-translation": [("allocated", "Driver._allocate")],
    "another-requests-row": [("allocated", "Driver._allocate")],
}


def play(directory, names):
    done = prepared.python("-m", "tests.page_history.bugs_child", directory, *names)
    assert done.returncode == 0, done.stderr[-2000:]
    return {each["bug"]: each for each in map(json.loads, done.stdout.splitlines())}


def check(found, expected):
    """`expected` stands in the first page's events, in this order; others may lie between."""
    assert found["failures"] == {}
    events = found["pages"][0]["events"] if found["pages"] else []
    told = iter([(each["kind"], each["frames"][0].partition(" ")[2]) for each in events])
    for kind, function in expected:
        assert any(kind == seen and function in caller for seen, caller in told), found


def test_the_planted_site_is_named_in_the_error_and_the_dump(tmp_path):
    played = play(tmp_path, PLANTED)
    for name, expected in PLANTED.items():
        check(played[name], expected)
    # AND the error itself says it, with the request by its hash alone
    error = played["double-free"]["error"]
    assert "page 1 of the full pool:\n    freed in step 21" in error
    assert error.count("_free_twice") >= 2
    events = played["swa-freed-under-a-live-node"]["pages"][0]["events"]
    assert all(each["request"].startswith("#") for each in events)


@pytest.mark.slow
def test_further_bugs_of_the_ledger_the_tables_and_the_writes(tmp_path):
    played = play(tmp_path, FURTHER)
    for name, expected in FURTHER.items():
        check(played[name], expected)
