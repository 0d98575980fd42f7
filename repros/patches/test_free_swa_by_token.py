import unittest

import torch
from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.test.test_utils import CustomTestCase

PAGE = 4


class TestFreeSwaWholePages(CustomTestCase):
    """`free_swa` of part of a page unmaps what it frees: the whole page, once."""

    def test_a_page_that_is_freed_in_two_parts_is_listed_once(self):
        size = 6 * PAGE
        pool = SWAKVPool.__new__(SWAKVPool)
        allocator = SWATokenToKVPoolAllocator(
            size, size, PAGE, torch.float16, "cpu", pool, need_sort=False
        )
        zero, tokens = torch.tensor([0]), torch.tensor([PAGE])
        slots = allocator.alloc_extend(zero, zero, tokens, tokens, torch.tensor([-1]), PAGE)
        allocator.free_swa(slots[:1])
        self.assertEqual(int(allocator.full_to_swa_index_mapping[slots].sum()), 0)
        allocator.free_swa(slots[1:])
        free = allocator.swa_attn_allocator.free_pages.tolist()
        self.assertEqual(sorted(free), list(range(1, 7)))


if __name__ == "__main__":
    unittest.main()
