import unittest
from array import array
from types import SimpleNamespace

import torch
from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import EvictParams, InsertParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache
from sglang.test.test_utils import CustomTestCase

PAGE, PAGES = 4, 8


class TestEvictedNodeWithoutSomeSwaPeers(CustomTestCase):
    """Evicting the SWA side of a node frees the peers that it has, and never page 0."""

    def setUp(self):
        pool = SWAKVPool.__new__(SWAKVPool)
        size = PAGES * PAGE
        self.allocator = SWATokenToKVPoolAllocator(
            size, size, PAGE, torch.float16, "cpu", pool, need_sort=False
        )
        rows = SimpleNamespace(req_to_token=torch.zeros(1, 1, dtype=torch.int32), size=1)
        self.cache = UnifiedRadixCache(
            CacheInitParams(
                False,
                rows,
                self.allocator,
                PAGE,
                sliding_window_size=PAGE,
                tree_components=(ComponentType.FULL, ComponentType.SWA),
            )
        )

    def evict_a_node(self, without_peer):
        """A node of three pages, `without_peer` of which have no SWA peer any more."""
        tokens = 3 * PAGE
        full = self.allocator.full_attn_allocator.alloc(tokens).to(torch.int64)
        swa = self.allocator.swa_attn_allocator.alloc(tokens)
        self.allocator.set_full_to_swa_mapping(full, swa)
        key = RadixKey(array("q", range(tokens)), None)
        self.cache.insert(InsertParams(key=key, value=full))
        if without_peer:
            self.allocator.free_swa(full[: without_peer * PAGE])
        self.cache.evict(EvictParams(num_tokens=0, swa_num_tokens=tokens))
        return self.allocator.swa_attn_allocator.free_pages.tolist()

    def test_a_node_with_some_peers(self):
        self.assertEqual(sorted(self.evict_a_node(without_peer=2)), list(range(1, PAGES + 1)))

    def test_a_node_with_all_of_them(self):
        self.assertEqual(sorted(self.evict_a_node(without_peer=0)), list(range(1, PAGES + 1)))


if __name__ == "__main__":
    unittest.main()
