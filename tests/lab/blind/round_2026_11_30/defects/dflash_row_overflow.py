"""0.5.18 as it stands: DFLASH/DSPARK at page size 1 reserves more slots than a row of the request table is wide."""

from contextlib import contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "dflash_row_overflow"
REFERENCE = "https://github.com/sgl-project/sglang/issues/33579"
SUBSYSTEM = "speculative scheduling (DFLASH/DSPARK, request table sizing)"
WHAT = (
    "At page size 1 the rows are context_len + 4 + num_draft_tokens wide, but each decode step reserves"
    " 2 * num_draft_tokens past the committed length: at the context limit the write spills into the neighbour's row, and"
    " the release slice clamps at the row's end, so the spilled slots leak."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "Slots are written past the end of the request's row (into the next request's row) and are never freed: the"
    " row is too narrow for the reserve.",
    "keywords": ["row", "past the end", "overflow", "too narrow", "neighbour", "neighbor", "leak", "req_to_token"],
}
CONTEXT, DRAFT = 64, 17


@contextmanager
def plant(harmed):
    from sglang.srt.speculative import dflash_info_v2

    def make(original):
        def alloc_for_spec_decode(tree_cache, req_to_token_pool, **more):
            width, need = req_to_token_pool.req_to_token.shape[1], int(more["nxt_kv_lens_cpu"].max())
            if need > width:
                harmed(f"{need} slots go into a row of {width}")
            return original(tree_cache, req_to_token_pool, **more)

        return alloc_for_spec_decode

    with replaced(dflash_info_v2, "alloc_for_spec_decode", make):
        yield


@contextmanager
def corrected():
    """The reserve counts at every page size."""
    from sglang.srt.mem_cache import allocation_sizing

    def make(original):
        def get_req_to_token_extra_context_len():
            return max(original(), allocation_sizing.get_alloc_reserve_per_decode())

        return get_req_to_token_extra_context_len

    with replaced(allocation_sizing, "get_req_to_token_extra_context_len", make):
        yield


def drive(lab):
    from sglang.srt.managers.schedule_batch import ReqKvInfo
    from sglang.srt.mem_cache import allocation_sizing
    from sglang.srt.mem_cache.allocator.token import TokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.chunk_cache import ChunkCache
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
    from sglang.srt.speculative.dflash_info_v2 import DFlashDraftInputV2

    fields = dict(
        speculative_algorithm="DFLASH", speculative_num_draft_tokens=DRAFT, page_size=1, attention_backend="triton"
    )
    with lab.server_args(**fields) as server_args:
        width = CONTEXT + allocation_sizing.get_req_to_token_extra_context_len()
        rows = ReqToTokenPool(4, width, "cpu", False)
        pool = MHATokenToKVPool(
            size=400, page_size=1, dtype=torch.float16, head_num=1, head_dim=8, layer_num=1, device="cpu",
            enable_memory_saver=False,
        )
        allocator = TokenToKVPoolAllocator(400, torch.float16, "cpu", pool, False)
        tree = ChunkCache(
            CacheInitParams(disable=True, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=1)
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
        for rid, tokens in (("one", 20), ("two", 24)):
            req = SimpleNamespace(
                rid=rid, req_pool_idx=None, kv_committed_len=tokens, inflight_middle_chunks=0, decode_batch_idx=0,
                sampling_params=SimpleNamespace(top_k=1), kv=ReqKvInfo(kv_allocated_len=tokens, swa_evicted_seqlen=0),
            )
            rows.alloc([req])
            rows.write((req.req_pool_idx, slice(0, tokens)), allocator.alloc(tokens).to(torch.int32))
            reqs.append(req)
        reqs.sort(key=lambda req: req.req_pool_idx)
        lab.step(scheduler=scheduler)
        draft = DFlashDraftInputV2.create_idle_input("cpu")
        for count in range(5):
            lab.event(f"decode step {count}")
            batch = SimpleNamespace(
                reqs=reqs, batch_size=lambda: len(reqs), maybe_evict_swa=lambda: None, device="cpu", tree_cache=tree,
                token_to_kv_pool_allocator=allocator, req_to_token_pool=rows,
                req_pool_indices=torch.tensor([req.req_pool_idx for req in reqs]),
            )
            draft.prepare_for_decode(batch)
            for req in reqs:
                req.kv_committed_len = min(req.kv_committed_len + 12, CONTEXT)
            lab.step(scheduler=scheduler)
        lab.event("they end")
        for req in reqs:
            allocator.free(rows.req_to_token[req.req_pool_idx, : req.kv.kv_allocated_len].to(torch.int64))
            rows.free(req)
            req.kv = None
        rows.free(idle)
        lab.step(scheduler=scheduler)
