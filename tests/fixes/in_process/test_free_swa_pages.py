"""Freeing part of a page and then the rest must not give its SWA page to two requests."""

from __future__ import annotations

import pytest
import torch

from triage.sglang.binding.names import swa_allocator_class
from triage.sglang.fixes.construction import uninitialised
from triage.sglang.fixes.fix import Need
from triage.sglang.fixes.free_swa_pages import FreeSwaPages, whole_pages

PAGE, PAGES = 4, 6


@pytest.fixture
def allocator():
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    size = PAGE * PAGES
    return swa_allocator_class()(
        size, size, PAGE, torch.float16, "cpu", uninitialised(SWAKVPool), need_sort=False
    )


def map_one_page(allocator):
    """One page, as a request holds it: full slots mapped to SWA slots."""
    full = allocator.full_attn_allocator.alloc(PAGE)
    swa = allocator.swa_attn_allocator.alloc(PAGE)
    allocator.full_to_swa_index_mapping[full] = swa.to(allocator.full_to_swa_index_mapping.dtype)
    return full


def handed_out_twice(allocator):
    """Take every SWA page there is and look for one that comes twice."""
    taken = allocator.swa_attn_allocator.alloc(allocator.swa_attn_allocator.available_size())
    pages = taken[::PAGE] // PAGE
    return len(pages) - len(torch.unique(pages))


def free_in_two_parts(allocator, slots):
    allocator.free_swa(slots[:1])
    allocator.free_swa(slots[1:])


def test_without_the_fix_a_release_that_needs_it_hands_one_page_out_twice(allocator):
    # WHEN one slot of a page is freed, and later the rest
    free_in_two_parts(allocator, map_one_page(allocator))
    # THEN the page is on the free list twice, exactly where the probe says so
    expected = 1 if FreeSwaPages.probe().need is Need.NEEDED else 0
    assert handed_out_twice(allocator) == expected


def test_with_the_fix_every_page_is_handed_out_once(allocator, bind):
    fix = bind(FreeSwaPages())
    free_in_two_parts(allocator, map_one_page(allocator))
    assert handed_out_twice(allocator) == 0
    assert fix.uses == 2


def test_disarmed_it_is_not_there(allocator, bind):
    fix = bind(FreeSwaPages())
    fix.armed = False
    free_in_two_parts(allocator, map_one_page(allocator))
    expected = 1 if FreeSwaPages.probe().need is Need.NEEDED else 0
    assert (handed_out_twice(allocator), fix.uses) == (expected, 0)


def test_pages_of_other_requests_keep_their_mapping(allocator, bind):
    bind(FreeSwaPages())
    first, second = map_one_page(allocator), map_one_page(allocator)
    before = allocator.full_to_swa_index_mapping[second].clone()
    allocator.free_swa(first[:2])
    assert torch.equal(allocator.full_to_swa_index_mapping[second], before)
    assert int(allocator.full_to_swa_index_mapping[first].abs().sum()) == 0


def test_whole_pages_lists_every_slot_of_every_page_once():
    assert whole_pages(torch.tensor([5, 6, 13]), 4).tolist() == [4, 5, 6, 7, 12, 13, 14, 15]
