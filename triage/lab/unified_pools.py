"""SGLang's unified memory pool (from 0.5.23 under trtllm_mha): one buffer, two pools of any share.

`req_to_token` holds virtual slots there. What a kernel is given, and what it writes to, are
physical ones, which move when the pool compacts. Everything is SGLang's own, from its factory.
"""

from __future__ import annotations

from typing import Any

from triage.lab.runtime import Runtime


class UnifiedRuntime(Runtime):
    """A Runtime over `init_unified_swa_pools`. Raises ImportError where a release has none."""

    def _pools(self) -> None:
        import torch
        from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
        from sglang.srt.mem_cache.unified_memory_pool import init_unified_swa_pools

        g = self.geometry
        kinds = g.layer_kinds[: g.own_kv_layers]
        self.req_to_token_pool = ReqToTokenPool(
            size=g.max_requests,
            max_context_len=g.context_len + 4 + self.draft_tokens,
            device="cpu",
            enable_memory_saver=False,
        )
        built: Any = init_unified_swa_pools(
            device="cpu",
            kv_cache_dtype=torch.float16,
            page_size=g.page_size,
            head_num=g.num_heads,
            head_dim=g.head_dim,
            v_head_dim=g.head_dim,
            swa_head_num=g.num_heads,
            swa_head_dim=g.head_dim,
            swa_v_head_dim=g.head_dim,
            swa_attention_layer_ids=[i for i, swa in enumerate(kinds) if swa],
            full_attention_layer_ids=[i for i, swa in enumerate(kinds) if not swa],
            full_max_total_num_tokens=g.full_pages * g.page_size,
            swa_max_total_num_tokens=g.swa_pages * g.page_size,
            need_sort=False,
            # As a server. Eager, a free moves pages at once, under a queued forward too.
            lazy_compaction=True,
            enable_memory_saver=False,
            start_layer=0,
            end_layer=len(kinds),
        )
        self.token_to_kv_pool = built.token_to_kv_pool
        self.token_to_kv_pool_allocator = built.token_to_kv_pool_allocator
