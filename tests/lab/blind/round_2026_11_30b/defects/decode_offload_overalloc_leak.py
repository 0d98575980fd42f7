"""Decode-side KV offload with speculative decoding: the draft tokens' reserve is not freed at the end."""

from array import array
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "decode_offload_overalloc_leak"
REFERENCE = "https://github.com/sgl-project/sglang/pull/19518"
SUBSYSTEM = "PD decode / HiCache (decode-side KV offload)"
WHAT = (
    "DecodeKVCacheOffloadManager._release_finished_req frees the committed tokens only: the slots from kv_committed_len "
    "to kv_allocated_len that speculative decoding reserved are never freed."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The finished request's over-allocated (speculative) slots leaked: its row was released while they "
    "were neither freed nor owned by anybody.",
    "keywords": ["leak", "never freed", "not freed", "over-allocated", "overallocated", "lost", "orphan"],
}

WORKLOAD = {"draft": "none"}
PAGE = 16


@contextmanager
def plant(harmed):
    from sglang.srt.disaggregation.decode_kvcache_offload_manager import DecodeKVCacheOffloadManager

    def make(original):
        def _release_finished_req(self, req, start_offset):
            if req.req_pool_idx is None or req.req_pool_idx == -1:
                return
            # code before the fix
            committed = req.effective_kv_committed_len()
            row = self.req_to_token_pool.req_to_token[req.req_pool_idx]
            state = self.offloaded_state.get(req.rid)
            if state is not None and state.prefill_len > 0:
                self.token_to_kv_pool_allocator.free(row[: state.prefill_len])
            self.token_to_kv_pool_allocator.free(row[start_offset:committed])
            first = -(-committed // self.page_size) * self.page_size
            rest = req.kv.kv_allocated_len - first
            rid = req.rid
            self.req_to_token_pool.free(req)
            req.kv = None
            self.tree_cache.protected_size_ -= len(req.prefix_indices)
            if req.rid in self.offloaded_state:
                del self.offloaded_state[req.rid]
            if rest > 0:
                harmed(f"request {rid} is gone, {rest} of its slots were not freed")

        return _release_finished_req

    with replaced(DecodeKVCacheOffloadManager, "_release_finished_req", make):
        yield


def drive(lab):
    with lab.server_args(page_size=PAGE):
        _drive(lab)


def _drive(lab):
    from sglang.srt.disaggregation.decode_kvcache_offload_manager import DecodeKVCacheOffloadManager
    from sglang.srt.managers.schedule_batch import Req, ReqKvInfo
    from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.chunk_cache import ChunkCache
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
    from sglang.srt.sampling.sampling_params import SamplingParams

    pool = MHATokenToKVPool(
        size=PAGE * 24, page_size=PAGE, dtype=torch.float32, head_num=1, head_dim=8, layer_num=2, device="cpu",
        enable_memory_saver=False,
    )
    allocator = PagedTokenToKVPoolAllocator(PAGE * 24, PAGE, torch.float32, "cpu", pool, False)
    rows = ReqToTokenPool(size=4, max_context_len=256, device="cpu", enable_memory_saver=False)
    tree = ChunkCache(
        CacheInitParams(disable=True, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=PAGE)
    )
    if not hasattr(tree, "protected_size_"):
        tree.protected_size_ = 0
    manager = object.__new__(DecodeKVCacheOffloadManager)
    manager.req_to_token_pool, manager.token_to_kv_pool_allocator = rows, allocator
    manager.page_size = manager.offload_stride = PAGE
    manager.tree_cache, manager.request_counter = tree, 0
    manager.ongoing_offload, manager.ongoing_backup = {}, {}
    manager.offloaded_state, manager.offload_inflight = {}, {}
    scheduler = SimpleNamespace(
        tree_cache=tree, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, running_batch=None,
        waiting_queue=[],
    )

    def grow(req, start, end):
        one = torch.tensor([start]), torch.tensor([end])
        last = rows.req_to_token[req.req_pool_idx, start - 1 : start].long() if start else torch.tensor([-1])
        slots = allocator.alloc_extend(one[0], one[0], one[1], one[1], last, end - start)
        rows.write((req.req_pool_idx, slice(start, end)), slots.to(torch.int32))

    for number, prompt in enumerate((40, 53, 64)):
        lab.event(f"request {number} arrives")
        req = Req(f"r{number}", "", array("q", range(prompt)), SamplingParams(max_new_tokens=20))
        rows.alloc([req])
        grow(req, 0, prompt)
        req.kv = ReqKvInfo(kv_allocated_len=prompt, swa_evicted_seqlen=0)
        req.kv_committed_len = prompt
        lab.step(scheduler=scheduler)
        for _ in range(6):
            lab.event(f"request {number} decodes")
            end = -(-(req.kv_committed_len + 24) // PAGE) * PAGE  # spec v2 reserves twice the draft's length, in pages
            if end > req.kv.kv_allocated_len:
                grow(req, req.kv.kv_allocated_len, end)
                req.kv.kv_allocated_len = end
            req.output_ids.extend([5, 6, 7])
            req.kv_committed_len += 3
            lab.step(scheduler=scheduler)
        lab.event(f"request {number} ends")
        manager.finalize_release_on_finish(req)
        lab.step(scheduler=scheduler)
    lab.step(scheduler=scheduler)
