import unittest
from types import SimpleNamespace
from unittest import mock

import torch
from sglang.srt.layers.attention import trtllm_mha_backend as module
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool, SWATokenToKVPoolAllocator
from sglang.srt.speculative.spec_info import SpeculativeAlgorithm
from sglang.test.test_utils import CustomTestCase

PAGE = 4


class TestSwaStateOfADraft(CustomTestCase):
    """The backend of a draft with a KV pool of its own is not translated for the target's."""

    def backend(self, *, draft, algorithm, pool):
        """The real constructor, without its parent's and without a workspace on a device."""
        target = SWAKVPool.__new__(SWAKVPool)
        target.full_to_swa_index_mapping = torch.arange(8 * PAGE).flip(0)
        allocator = SWATokenToKVPoolAllocator.__new__(SWATokenToKVPoolAllocator)
        allocator._kvcache = target
        own = MHATokenToKVPool.__new__(MHATokenToKVPool)
        runner = SimpleNamespace(
            token_to_kv_pool=own if pool == "own" else target,
            token_to_kv_pool_allocator=allocator,
            is_draft_worker=draft,
            spec_algorithm=SpeculativeAlgorithm.from_string(algorithm),
            model_config=SimpleNamespace(context_len=64, hidden_size=8),
            server_args=SimpleNamespace(
                speculative_eagle_topk=1, speculative_num_draft_tokens=4, speculative_num_steps=3
            ),
            req_to_token_pool=SimpleNamespace(req_to_token=None),
            kv_cache_dtype=torch.float16,
            dtype=torch.float16,
            page_size=PAGE,
            device="cpu",
        )
        parent = module.FlashInferAttnBackend
        with (
            mock.patch.object(parent, "__init__", lambda *_: None),
            mock.patch.object(module, "global_zero_init_workspace_buffer", torch.empty(0)),
            mock.patch.object(module, "is_sm90_supported", lambda: False),
            mock.patch.object(module, "is_sm120_supported", lambda: False),
        ):
            return module.TRTLLMHAAttnBackend(runner)

    def test_an_eagle_draft_keeps_its_own_slots(self):
        backend = self.backend(draft=True, algorithm="EAGLE", pool="own")
        self.assertIsNone(backend._maybe_translate_swa(torch.arange(PAGE)[None]))
        self.assertIsNone(backend._alloc_swa_page_table(2, 2))

    def test_the_target_and_a_frozen_kv_draft_are_translated(self):
        for draft, algorithm, pool in (
            (False, "EAGLE", "target"),
            (True, "FROZEN_KV_MTP", "own"),
            (True, "FROZEN_KV_MTP", "target"),
        ):
            with self.subTest(draft=draft, algorithm=algorithm, pool=pool):
                backend = self.backend(draft=draft, algorithm=algorithm, pool=pool)
                slots = backend._maybe_translate_swa(torch.arange(PAGE)[None])
                last = 8 * PAGE - 1
                self.assertEqual(slots.tolist(), [[last, last - 1, last - 2, last - 3]])


if __name__ == "__main__":
    unittest.main()
