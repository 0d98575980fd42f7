import unittest

import torch
from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.test.test_utils import CustomTestCase

PAGE, PAGES = 4, 6


class TestFreeSwaInsideAGroup(CustomTestCase):
    """`free_swa` inside a free group frees the SWA page that its slots had when it was called."""

    def setUp(self):
        size = PAGES * PAGE
        pool = SWAKVPool.__new__(SWAKVPool)
        self.allocator = SWATokenToKVPoolAllocator(
            size, size, PAGE, torch.float16, "cpu", pool, need_sort=False
        )
        self.mapping = self.allocator.full_to_swa_index_mapping

    def take(self, tokens):
        zero, length = torch.tensor([0]), torch.tensor([tokens])
        return self.allocator.alloc_extend(zero, zero, length, length, torch.tensor([-1]), tokens)

    def check(self, held):
        """Every SWA page is mapped by a slot of `held` or free, and never both."""
        mapped = set((self.mapping[held] // PAGE).tolist())
        free = self.allocator.swa_attn_allocator.free_pages.tolist()
        self.assertNotIn(0, mapped | set(free))
        self.assertEqual(sorted([*mapped, *free]), list(range(1, PAGES + 1)))

    def test_a_tombstone_that_is_recovered_in_the_group_keeps_its_new_page(self):
        slots = self.take(2 * PAGE)
        old, new = slots[:PAGE], slots[PAGE:]
        self.allocator.free_group_begin()
        self.allocator.free_swa(old)
        # As an insert does: `old` takes the SWA side of `new`, whose full side goes back.
        recovered = self.mapping[new].clone()
        self.mapping[new] = 0
        self.allocator.set_full_to_swa_mapping(old, recovered)
        self.allocator.full_attn_allocator.free(new)
        self.allocator.free_group_end()
        self.assertEqual(self.mapping[old].tolist(), recovered.tolist())
        self.check(held=old)

    def test_slots_of_both_kinds_are_freed_once(self):
        slots = self.take(3 * PAGE)
        self.allocator.free_group_begin()
        self.allocator.free_swa(slots[:PAGE])
        self.allocator.free(slots[: 2 * PAGE])
        self.allocator.free_swa(slots[2 * PAGE : 2 * PAGE + 1])  # part of a page
        self.allocator.free_group_end()
        free = self.allocator.full_attn_allocator.free_pages.tolist()
        self.assertEqual(len(free), len(set(free)))
        self.assertEqual(len(free), PAGES - 1)
        self.assertEqual(int(self.mapping[slots].sum()), 0)
        self.check(held=slots[:0])


if __name__ == "__main__":
    unittest.main()
