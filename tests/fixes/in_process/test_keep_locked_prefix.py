"""A prefix is revived by an insert while a request reads it: its pages stay that request's."""

from __future__ import annotations

import pytest

from triage.sglang.fixes.fix import Need
from triage.sglang.fixes.keep_locked_prefix import KeepLockedPrefix
from triage.sglang.fixes.revived_prefix import TREES, RevivedPrefix, free_pages

PAGE = RevivedPrefix.PAGE
EVICTED = pytest.mark.parametrize("evicted", [0, PAGE], ids=["whole", "its second page"])


@pytest.fixture(params=TREES)
def tree(request) -> RevivedPrefix:
    try:
        return RevivedPrefix(request.param)
    except ImportError:
        pytest.skip(f"this SGLang has no {request.param}")


@pytest.fixture
def broken() -> bool:
    return KeepLockedPrefix.ask().need is Need.NEEDED


@EVICTED
def test_without_the_fix_a_release_that_needs_it_frees_what_a_request_reads(tree, broken, evicted):
    # WHEN another request, with its own slots, is inserted over the locked prefix
    tree.insert_again(evicted)
    # THEN the pages in its window are free, exactly where the probe says so
    revived = [1, 2][evicted // PAGE :]
    assert tree.freed_while_read() == (revived if broken else [])


@EVICTED
def test_with_it_the_reader_keeps_its_pages_and_the_prefix_can_be_matched(
    tree, broken, bind, evicted
):
    fix = bind(KeepLockedPrefix())
    slots = tree.insert_again(evicted)
    # THEN the pages that came with the insert are free, and their SWA side is the prefix's now
    came = set((slots[: 2 * PAGE] // PAGE).tolist())
    assert tree.freed_while_read() == []
    assert came <= set(free_pages(tree.allocator.full_attn_allocator))
    assert not tree.mapping[slots[: 2 * PAGE]].any()
    revived = tree.read_by_a[evicted : 2 * PAGE]
    assert tree.mapping[revived].all() and len(tree.mapping[revived].unique()) == len(revived)
    assert tree.match([*tree.shared, *tree.own])[0] == 3 * PAGE
    assert bool(fix.uses) == broken


@EVICTED
def test_no_page_is_lost_and_none_is_there_twice(tree, bind, evicted):
    bind(KeepLockedPrefix())
    tree.insert_again(evicted)
    # WHEN the reader ends and all is evicted
    tree.end_a()
    # THEN both pools have each page once
    for sub in (tree.allocator.full_attn_allocator, tree.allocator.swa_attn_allocator):
        assert free_pages(sub) == list(range(1, 13))
    assert not tree.mapping.any()


def test_a_prefix_that_nobody_reads_is_revived_as_sglang_does_it(tree, bind):
    fix = bind(KeepLockedPrefix())
    tree.unlock_a()
    tree.insert_again()
    assert fix.uses == 0
    assert tree.freed_while_read() == [1, 2]


def test_disarmed_it_is_not_there(tree, bind, broken):
    fix = bind(KeepLockedPrefix())
    fix.armed = False
    tree.insert_again()
    assert (bool(tree.freed_while_read()), fix.uses) == (broken, 0)
