import unittest

import torch
from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.test.test_utils import CustomTestCase

PAGE = 4


class TestFreeGroupOwnsItsSlots(CustomTestCase):
    """What a free group gives back is what was passed, whatever the row holds when it ends."""

    def test_a_row_is_rewritten_inside_the_group(self):
        size = 12 * PAGE
        pool = SWAKVPool.__new__(SWAKVPool)
        allocator = SWATokenToKVPoolAllocator(
            size, size, PAGE, torch.float16, "cpu", pool, need_sort=False
        )
        zero, tokens, none = torch.tensor([0]), torch.tensor([PAGE]), torch.tensor([-1])
        req_to_token = torch.zeros(3, PAGE, dtype=torch.int32)
        for row in (1, 2):
            slots = allocator.alloc_extend(zero, zero, tokens, tokens, none, PAGE)
            req_to_token[row] = slots.to(torch.int32)
        mine, others = (int(req_to_token[row, 0]) // PAGE for row in (1, 2))
        allocator.free_group_begin()
        allocator.free(req_to_token[1])
        req_to_token[1] = req_to_token[2]
        allocator.free_group_end()
        free = allocator.full_attn_allocator.free_pages.tolist()
        self.assertIn(mine, free)
        self.assertNotIn(others, free, "a page of the other request was freed")


if __name__ == "__main__":
    unittest.main()
