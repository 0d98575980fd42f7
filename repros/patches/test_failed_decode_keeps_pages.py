import unittest

import torch
from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.test.test_utils import CustomTestCase

PAGE = 4


class TestFailedAllocDecode(CustomTestCase):
    """`alloc_decode` that returns None leaves both pools as they were."""

    def test_nothing_is_taken_where_the_swa_pool_cannot_serve_all(self):
        allocator = SWATokenToKVPoolAllocator(
            12 * PAGE,
            3 * PAGE,
            PAGE,
            torch.float16,
            "cpu",
            SWAKVPool.__new__(SWAKVPool),
            need_sort=False,
        )
        zero, one_page = torch.tensor([0]), torch.tensor([PAGE])
        last = []
        for _ in range(2):
            slots = allocator.alloc_extend(zero, zero, one_page, one_page, torch.tensor([-1]), PAGE)
            last.append(slots[-1:])
        before = (allocator.full_available_size(), allocator.swa_available_size())
        # Two requests need a page each, and the SWA pool has one.
        longer = torch.tensor([PAGE + 1, PAGE + 1])
        self.assertIsNone(allocator.alloc_decode(longer, longer, torch.cat(last)))
        self.assertEqual((allocator.full_available_size(), allocator.swa_available_size()), before)


if __name__ == "__main__":
    unittest.main()
