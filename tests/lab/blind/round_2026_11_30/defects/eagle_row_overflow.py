"""The request table's rows are too narrow for EAGLE's page-aligned reserve: a row's end is written into the next row."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "eagle_row_overflow"
REFERENCE = "https://github.com/sgl-project/sglang/pull/26972"
SUBSYSTEM = "pool sizing and speculative scheduling (req_to_token rows)"
WHAT = (
    "req_to_token rows have context_len + 4 + num_draft_tokens columns, but a decode step reserves 2 * alloc_len slots"
    " rounded up to a page: near the context limit the row write lands in the neighbour's row and the slots leak."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "A request's slots were written past the end of its row of req_to_token, into the next request's row (the"
    " row is too narrow for what is reserved).",
    "keywords": ["row", "past the end", "overflow", "too narrow", "neighbour", "neighbor", "width", "req_to_token"],
}
PAGE, CONTEXT, DRAFT = 16, 64, 4


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache import allocation_sizing
    from sglang.srt.speculative import eagle_utils

    def make_width(original):
        def get_req_to_token_extra_context_len():
            return 4 + DRAFT

        return get_req_to_token_extra_context_len

    def make_alloc(original):
        def alloc_for_spec_decode(tree_cache, req_to_token_pool, **more):
            width, need = req_to_token_pool.req_to_token.shape[1], int(more["nxt_kv_lens_cpu"].max())
            if need > width:
                harmed(f"{need} slots go into a row of {width}")
            return original(tree_cache, req_to_token_pool, **more)

        return alloc_for_spec_decode

    with ExitStack() as stack:
        stack.enter_context(replaced(allocation_sizing, "get_req_to_token_extra_context_len", make_width))
        stack.enter_context(replaced(eagle_utils, "alloc_for_spec_decode", make_alloc))
        yield


def drive(lab):
    from sglang.srt.managers.schedule_batch import ReqKvInfo
    from sglang.srt.mem_cache import allocation_sizing
    from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.chunk_cache import ChunkCache
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
    from sglang.srt.speculative import eagle_utils

    fields = dict(
        speculative_algorithm="EAGLE", speculative_num_steps=3, speculative_eagle_topk=1,
        speculative_num_draft_tokens=DRAFT, page_size=PAGE, attention_backend="triton",
    )
    with lab.server_args(**fields) as server_args:
        width = CONTEXT + allocation_sizing.get_req_to_token_extra_context_len()
        rows = ReqToTokenPool(4, width, "cpu", False)
        pool = MHATokenToKVPool(
            size=24 * PAGE, page_size=PAGE, dtype=torch.float16, head_num=1, head_dim=8, layer_num=1, device="cpu",
            enable_memory_saver=False,
        )
        allocator = PagedTokenToKVPoolAllocator(24 * PAGE, PAGE, torch.float16, "cpu", pool, False)
        tree = ChunkCache(
            CacheInitParams(disable=True, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=PAGE)
        )
        scheduler = SimpleNamespace(
            tree_cache=tree, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, server_args=server_args,
            waiting_queue=[], running_batch=None,
        )
        # the last row stays with an idle request: what spills over must land in a row, not behind the table
        idle = SimpleNamespace(rid="idle", req_pool_idx=None, inflight_middle_chunks=0, kv_committed_len=0, kv=None)
        rows.alloc([idle])
        reqs = []
        lab.event("two requests are prefilled")
        for rid, tokens in (("one", 40), ("two", 44)):
            req = SimpleNamespace(
                rid=rid, req_pool_idx=None, kv_committed_len=tokens, inflight_middle_chunks=0, decode_batch_idx=0,
                kv=ReqKvInfo(kv_allocated_len=tokens, swa_evicted_seqlen=0),
            )
            rows.alloc([req])
            zero, length = torch.tensor([0]), torch.tensor([tokens])
            slots = allocator.alloc_extend(zero, zero, length, length, torch.tensor([-1]), tokens)
            rows.write((req.req_pool_idx, slice(0, tokens)), slots.to(torch.int32))
            reqs.append(req)
        reqs.sort(key=lambda req: req.req_pool_idx)
        lab.step(scheduler=scheduler)
        for count in range(6):
            lab.event(f"decode step {count}")
            batch = SimpleNamespace(
                reqs=reqs, batch_size=lambda: len(reqs), maybe_evict_swa=lambda: None, device="cpu", tree_cache=tree,
                sampling_info=SimpleNamespace(penalizer_orchestrator=SimpleNamespace(is_required=False)),
                token_to_kv_pool_allocator=allocator, req_to_token_pool=rows,
                req_pool_indices=torch.tensor([req.req_pool_idx for req in reqs]),
            )
            eagle_utils.eagle_prepare_for_decode(batch)
            for req in reqs:
                req.kv_committed_len = min(req.kv_committed_len + DRAFT, CONTEXT)
            lab.step(scheduler=scheduler)
        lab.event("they end")
        for req in reqs:
            allocator.free(rows.req_to_token[req.req_pool_idx, : req.kv.kv_allocated_len].to(torch.int64))
            rows.free(req)
            req.kv = None
        rows.free(idle)
        lab.step(scheduler=scheduler)
