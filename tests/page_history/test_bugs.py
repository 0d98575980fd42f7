"""Whose hand, on SGLang's real classes: the site that is named is the one that was planted.

For every bug of the ledger that the catalogue has: those whose first two invariants have one of
`LEDGER`. Where the planted code moves a page, it is named itself; where it stands below the
hooks, inside the allocator, its caller is; and of a page that is lost, who had it last.
"""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.lab import versions
from triage.lab.bugs import CATALOGUE

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
    "mapping-read-at-group-end": [
        ("freed", "_recover_inside_a_group"),
        ("allocated", "_recover_inside_a_group"),
    ],
}
FURTHER = {
    "group-ended-twice": [("freed", "_ended_twice"), ("allocated", "Driver._allocate")],
    "group-begun-again": [("freed", "_begun_again"), ("allocated", "Driver._allocate")],
    "aborted-in-flight": [("freed", "_abort_in_flight"), ("allocated", "Driver._allocate")],
    "evicted-though-locked": [
        ("freed", "_evicts_the_locked"),
        ("inserted into the tree", "cache_unfinished_req"),
        ("allocated", "alloc_paged_token_slots_extend"),
    ],
    # What is planted stands inside the function that is named, or makes it do this.
    "shared-prefix-freed-at-finish": [
        ("freed", "SWARadixCache._insert_helper"),
        ("inserted into the tree", "SWARadixCache.cache_finished_req"),
        ("allocated", "alloc_paged_token_slots_extend"),
    ],
    "shared-prefix-freed-at-retract": [
        ("freed", "SWARadixCache.cache_finished_req"),
        ("inserted into the tree", "SWARadixCache.cache_unfinished_req"),
        ("allocated", "alloc_paged_token_slots_extend"),
    ],
    "row-keeps-the-duplicate": [
        ("freed", "SWARadixCache._insert_helper"),
        ("inserted into the tree", "SWARadixCache.cache_unfinished_req"),
    ],
    "mapping-cleared-a-call-late": [
        ("freed", "free_swa_out_of_window_slots"),
        ("allocated", "Driver._allocate"),
    ],
    "free-swa-by-token-again": [
        ("freed", "Driver._free"),
        ("allocated", "Driver._allocate"),
    ],
    "page-handed-out-twice": [("allocated", "Driver._allocate")],
    "two-full-pages-one-swa-page": [("allocated", "Driver._allocate")],
    "mapping-not-written": [("allocated", "Driver._next_token")],
    "mapping-shifted-by-one": [("allocated", "Driver._allocate")],
    # Nobody gave these back: who had them last is all that can be said.
    "leak-at-finish": [("allocated", "Driver._allocate")],
    "last-page-left-behind": [("allocated", "alloc_paged_token_slots_decode")],
    "last-page-left-behind-older-tree": [("allocated", "alloc_paged_token_slots_decode")],
    # Not of the ledger.
    "remembered-translation": [("allocated", "Driver._allocate")],
    "another-requests-row": [("allocated", "Driver._allocate")],
}
NO_PAGE = {
    "dummy-page-handed-out": "page 0 has no history",
    "tombstone-frees-the-dummy-page": "page 0 has no history",  # in 0.5.15.post1
    "page-past-the-end": "an id that the pool does not have",
    "last-slot-of-another-request": "last_loc is compared before a page is moved",
    "row-written-one-late": "a slot of the row that is not written",
    "neighbour-page-unmapped": "a page that nobody had been given",
    "leaf-shorter-than-the-window": "lengths of a request",  # before a page is freed
    "window-edge-evicted": "lengths of a request",
    "evicted-inside-the-window": "lengths of a request",
    "extended-after-eviction": "lengths of a request",
    "evicted-a-token-early": "lengths of a request",
    "evicted-from-the-row-before": "lengths of a request",
    "window-a-token-wide": "lengths of a request",
    "row-released-twice": "a row",
    "failed-decode-keeps-pages": "counts of free pages",
    "lock-not-given-back": "lock counts of a node",
    "swa-lock-too-short": "lock counts of a node",
    "prefix-not-locked": "lock counts of a node",
}
"""What the evidence of the others names instead of a page of the pool."""
OLDER = {
    "locked-prefix-freed": [
        ("freed", "SWARadixCache._insert_helper"),
        ("inserted into the tree", "SWARadixCache.cache_finished_req"),
    ],
    "free-swa-by-token": [("freed", "Driver._free"), ("allocated", "Driver._allocate")],
    "free-group-keeps-a-view": [
        ("freed", "_row_reused_inside_a_group"),
        ("allocated", "_row_reused_inside_a_group"),
    ],
}
"""Of releases up to this one."""
OLD = "0.5.13.post1"
LEDGER = {"I4", "I5", "I6", "I7", "I8", "I15", "I16", "I17", "I20"}


def play(directory, names, version=None):
    done = prepared.python(
        "-m", "tests.page_history.bugs_child", directory, *names, version=version
    )
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


@pytest.mark.slow
@pytest.mark.skipif(OLD not in versions.available(), reason=f"SGLang {OLD} is not unpacked")
def test_bugs_of_older_releases(tmp_path):
    played = play(tmp_path, OLDER, version=OLD)
    for name, expected in OLDER.items():
        check(played[name], expected)


@pytest.mark.slow
def test_where_no_page_is_named_the_evidence_names_something_else(tmp_path):
    for name, found in play(tmp_path, NO_PAGE).items():
        assert found["failures"] == {} and found["alarm"] and found["pages"] == [], name


def test_every_bug_of_the_ledger_is_looked_at():
    of_the_ledger = {name for name, bug in CATALOGUE.items() if LEDGER & set(bug.invariants[:2])}
    looked_at = {*PLANTED, *FURTHER, *NO_PAGE, *OLDER}
    assert of_the_ledger <= looked_at <= set(CATALOGUE)
