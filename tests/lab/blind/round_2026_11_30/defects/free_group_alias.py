"""A free group keeps views of the request's row; the row is rewritten before the group ends."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest import mock

import torch
from triage.lab.patching import replaced

NAME = "free_group_alias"
REFERENCE = "https://github.com/sgl-project/sglang/pull/34067"
SUBSYSTEM = "token KV allocator and radix cache (free group)"
WHAT = (
    "Deferred frees keep a view of req_to_token's row; cache_unfinished_req rewrites that row with the tree's slots before"
    " free_group_end, so the tree's live slots are freed instead of the request's duplicates."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "Slots that the radix tree still owns were put onto the free list (instead of the request's duplicate"
    " slots, which leak).",
    "keywords": ["live", "still owned", "in use", "tree", "leak", "freed", "alias"],
}
TOKENS = 24


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache.allocator.base import BaseTokenToKVPoolAllocator
    from sglang.srt.mem_cache.allocator.token import TokenToKVPoolAllocator

    shadow = []

    def keep(free_index):
        shadow.append((free_index, free_index.clone()))
        return free_index

    def make(original):
        def free_group_end(self):
            for queued, meant in shadow:
                if not torch.equal(queued, meant):
                    harmed(f"{queued.tolist()} will be freed, meant were {meant.tolist()}")
            shadow.clear()
            return original(self)

        return free_group_end

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(BaseTokenToKVPoolAllocator, "_copy_for_free_group", staticmethod(keep)))
        stack.enter_context(replaced(TokenToKVPoolAllocator, "free_group_end", make))
        yield


def drive(lab):
    from array import array

    from sglang.srt.mem_cache.allocator.token import TokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
    from sglang.srt.mem_cache.radix_cache import RadixCache

    with lab.server_args() as server_args:
        rows = ReqToTokenPool(4, 128, "cpu", False)
        pool = MHATokenToKVPool(
            size=128, page_size=1, dtype=torch.float16, head_num=1, head_dim=8, layer_num=1, device="cpu",
            enable_memory_saver=False,
        )
        allocator = TokenToKVPoolAllocator(128, torch.float16, "cpu", pool, False)
        tree = RadixCache(
            CacheInitParams(
                disable=False, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=1
            )
        )
        scheduler = SimpleNamespace(
            tree_cache=tree, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, server_args=server_args,
            waiting_queue=[], running_batch=None,
        )

        def begin(rid, tokens):
            req = SimpleNamespace(
                rid=rid, origin_input_ids=array("q", tokens), output_ids=array("q"), req_pool_idx=None, extra_key=None,
                cache_salt=None, priority=0, cache_protected_len=0, last_node=tree.root_node, prefix_indices=None,
                inflight_middle_chunks=0, kv_committed_len=len(tokens), get_fill_ids=lambda: array("q", tokens),
            )
            rows.alloc([req])
            rows.write((req.req_pool_idx, slice(0, len(tokens))), allocator.alloc(len(tokens)).to(torch.int32))
            return req

        def end(req):
            allocator.free_group_begin()
            tree.cache_finished_req(req, kv_len_to_handle=req.kv_committed_len)
            allocator.free_group_end()
            rows.free(req)
            lab.step(scheduler=scheduler)

        tokens = list(range(100, 100 + TOKENS))
        lab.event("two requests with the same prompt are prefilled in one batch")
        one, two = begin("one", tokens), begin("two", tokens)
        lab.step(scheduler=scheduler)
        lab.event("their result is processed in one free group")
        allocator.free_group_begin()
        tree.cache_unfinished_req(one)
        tree.cache_unfinished_req(two)
        allocator.free_group_end()
        lab.step(scheduler=scheduler)
        lab.event("a third request")
        three = begin("three", list(range(500, 500 + TOKENS)))
        lab.step(scheduler=scheduler)
        for req in (one, two, three):
            lab.event(f"request {req.rid} ends")
            end(req)
