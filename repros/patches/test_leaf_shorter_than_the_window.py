import unittest
from types import SimpleNamespace

import torch
from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.base_prefix_cache import InsertParams, MatchPrefixParams
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.common import free_swa_out_of_window_slots
from sglang.srt.mem_cache.radix_cache import RadixKey
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.srt.mem_cache.unified_cache.component_type import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache
from sglang.test.test_utils import CustomTestCase

PAGE, LONGEST = 16, 80


class TestEvictionLeavesAMatchableLeaf(CustomTestCase):
    """A prompt whose old SWA slots were freed is found again by the match behind its insert."""

    def matched(self, length, window):
        size = LONGEST + PAGE
        pool = SWAKVPool.__new__(SWAKVPool)
        allocator = SWATokenToKVPoolAllocator(
            size, size, PAGE, torch.float16, "cpu", pool, need_sort=False
        )
        rows = SimpleNamespace(req_to_token=torch.zeros(1, LONGEST, dtype=torch.int32), size=1)
        cache = UnifiedRadixCache(
            CacheInitParams(
                False,
                rows,
                allocator,
                PAGE,
                sliding_window_size=window,
                tree_components=(ComponentType.FULL, ComponentType.SWA),
            )
        )
        zero, tokens = torch.tensor([0]), torch.tensor([length])
        slots = allocator.alloc_extend(zero, zero, tokens, tokens, torch.tensor([-1]), length)
        rows.req_to_token[0, :length] = slots
        request = SimpleNamespace(
            kv=SimpleNamespace(swa_evicted_seqlen=0), cache_protected_len=0, req_pool_idx=0
        )
        free_swa_out_of_window_slots(
            request,
            length,
            sliding_window_size=window,
            page_size=PAGE,
            req_to_token_pool=rows,
            token_to_kv_pool_allocator=allocator,
        )
        kept = length // PAGE * PAGE
        key = RadixKey(list(range(1, kept + 1)), None)
        cache.insert(
            InsertParams(
                key=key,
                value=slots[:kept].to(torch.int64),
                swa_evicted_seqlen=request.kv.swa_evicted_seqlen,
            )
        )
        return len(cache.match_prefix(MatchPrefixParams(key=key)).device_indices), kept

    def test_windows_of_whole_pages_and_others(self):
        for window in (PAGE, PAGE + 8, 2 * PAGE):
            for length in range(4 * PAGE, LONGEST):
                with self.subTest(window=window, length=length):
                    matched, kept = self.matched(length, window)
                    self.assertEqual(matched, kept)


if __name__ == "__main__":
    unittest.main()
