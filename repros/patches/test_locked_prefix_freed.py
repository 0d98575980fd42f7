import unittest
from types import SimpleNamespace

import torch
from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import EvictParams, InsertParams, MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache
from sglang.srt.mem_cache.unified_cache_components.tree_component import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache
from sglang.test.test_utils import CustomTestCase

PAGE, SIZE = 4, 48
PREFIX = list(range(1, 2 * PAGE + 1))
OWN_A, OWN_B = list(range(101, 101 + PAGE)), list(range(201, 201 + PAGE))


class TestLockedTombstoneRecovery(CustomTestCase):
    """A tombstone is recovered by an insert while a running request holds its full lock."""

    def setUp(self):
        pool = SWAKVPool.__new__(SWAKVPool)
        self.allocator = SWATokenToKVPoolAllocator(
            SIZE, SIZE, PAGE, torch.float16, "cpu", pool, need_sort=False
        )

    def make(self, cls):
        rows = SimpleNamespace(req_to_token=torch.zeros(1, 1, dtype=torch.int32), size=1)
        params = CacheInitParams(False, rows, self.allocator, PAGE, sliding_window_size=PAGE)
        if cls is UnifiedRadixCache:
            params.tree_components = (ComponentType.FULL, ComponentType.SWA)
        return cls(params)

    def take(self, tokens):
        full = self.allocator.full_attn_allocator.alloc(tokens)
        swa = self.allocator.swa_attn_allocator.alloc(tokens)
        self.allocator.set_full_to_swa_mapping(full, swa)
        return full.to(torch.int64)

    def insert(self, cache, tokens, slots, evicted=0):
        matched = cache.match_prefix(MatchPrefixParams(key=RadixKey(tokens, None)))
        cache.insert(
            InsertParams(
                key=RadixKey(tokens, None),
                value=slots.clone(),
                prev_prefix_len=len(matched.device_indices),
                swa_evicted_seqlen=evicted,
            )
        )

    def check(self, cls, evicted):
        cache = self.make(cls)
        # A reads PREFIX + OWN_A: two nodes, both locked, the SWA lock on the window only.
        read = self.take(3 * PAGE)
        self.insert(cache, PREFIX, read[: 2 * PAGE])
        self.insert(cache, PREFIX + OWN_A, read)
        key = RadixKey(PREFIX + OWN_A, None)
        cache.inc_lock_ref(cache.match_prefix(MatchPrefixParams(key=key)).last_device_node)
        # The prefix becomes a tombstone, its full slots stay.
        cache.evict(EvictParams(num_tokens=0, swa_num_tokens=2 * PAGE))
        self.assertEqual(int(self.allocator.full_to_swa_index_mapping[read[: 2 * PAGE]].sum()), 0)
        # B computed the prefix anew; its insert recovers the tombstone.
        slots = self.take(3 * PAGE)
        if evicted:
            self.allocator.free_swa(slots[:evicted])
        self.insert(cache, PREFIX + OWN_B, slots, evicted)

        free = set(self.allocator.full_attn_allocator.free_pages.tolist())
        self.assertFalse(free & set((read // PAGE).tolist()), "slots that A reads were freed")
        self.assertTrue(set((slots[: 2 * PAGE] // PAGE).tolist()) <= free, "B's slots were lost")
        matched = cache.match_prefix(MatchPrefixParams(key=key)).device_indices
        self.assertEqual(matched.tolist(), read.tolist())
        recovered = self.allocator.full_to_swa_index_mapping[read[evicted : 2 * PAGE]]
        self.assertTrue(bool((recovered > 0).all()), "the SWA side was not recovered")

    def test_swa_radix_cache(self):
        for evicted in (0, PAGE):
            with self.subTest(swa_evicted_seqlen=evicted):
                self.setUp()
                self.check(SWARadixCache, evicted)

    def test_unified_radix_cache(self):
        for evicted in (0, PAGE):
            with self.subTest(swa_evicted_seqlen=evicted):
                self.setUp()
                self.check(UnifiedRadixCache, evicted)


if __name__ == "__main__":
    unittest.main()
