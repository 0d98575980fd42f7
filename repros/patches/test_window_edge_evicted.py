import unittest
from types import SimpleNamespace

import torch
from sglang.srt.environ import envs
from sglang.srt.managers.schedule_batch import ReqKvInfo, ScheduleBatch
from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
from sglang.srt.mem_cache.cache_init_params import CacheInitParams
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.srt.mem_cache.unified_cache.components import ComponentType
from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache
from sglang.srt.model_executor.forward_batch_info import ForwardMode
from sglang.srt.speculative.frozen_kv_mtp_worker_v2 import FrozenKVMTPWorkerV2
from sglang.test.test_utils import CustomTestCase

PAGE, WINDOW, LONGEST = 4, 16, 40  # a query sees itself and WINDOW - 1 tokens before it


class TestFrozenKVDraftWindow(CustomTestCase):
    """Eviction keeps what the query of a frozen-KV draft sees, a token behind the target's."""

    def setUp(self):
        self.pool = SWAKVPool.__new__(SWAKVPool)
        size = LONGEST + 2 * PAGE
        self.allocator = SWATokenToKVPoolAllocator(
            size, size, PAGE, torch.float16, "cpu", self.pool, need_sort=False
        )
        self.rows = SimpleNamespace(req_to_token=torch.zeros(1, size, dtype=torch.int32), size=1)

    def worker(self):
        worker = FrozenKVMTPWorkerV2.__new__(FrozenKVMTPWorkerV2)
        worker._target_worker = SimpleNamespace(
            model_runner=SimpleNamespace(token_to_kv_pool=self.pool, sliding_window_size=WINDOW - 1)
        )
        return worker

    def first_kept(self, length):
        """The oldest position that a decode of `length` tokens leaves its SWA slot."""
        self.allocator.clear()
        zero, tokens = torch.tensor([0]), torch.tensor([length])
        slots = self.allocator.alloc_extend(zero, zero, tokens, tokens, torch.tensor([-1]), length)
        self.rows.req_to_token[0, :length] = slots
        cache = UnifiedRadixCache(
            CacheInitParams(
                True,  # as --disable-radix-cache does
                self.rows,
                self.allocator,
                PAGE,
                sliding_window_size=WINDOW - 1,
                draft_swa_window=self.worker().draft_swa_window,
                tree_components=(ComponentType.FULL, ComponentType.SWA),
            )
        )
        request = SimpleNamespace(
            kv=ReqKvInfo(req_pool_idx=0, kv_allocated_len=length),
            seqlen=length,
            decode_batch_idx=1,
        )
        batch = ScheduleBatch(
            reqs=[request],
            req_to_token_pool=self.rows,
            token_to_kv_pool_allocator=self.allocator,
            tree_cache=cache,
            forward_mode=ForwardMode.DECODE,
        )
        with envs.SGLANG_SWA_EVICTION_INTERVAL.override(1):  # of tokens, so at every length
            batch.maybe_evict_swa()
        kept = self.allocator.full_to_swa_index_mapping[slots] > 0
        return int(kept.nonzero()[0])

    def test_the_drafts_oldest_visible_token_is_kept_and_older_pages_go(self):
        for length in range(WINDOW + 2, LONGEST):
            with self.subTest(length=length):
                # The last token is not computed yet; the draft asks at the one before it.
                draft_query = length - 2
                oldest = draft_query - (WINDOW - 1)
                self.assertEqual(self.first_kept(length), max(oldest, 0) // PAGE * PAGE)


if __name__ == "__main__":
    unittest.main()
