"""Hybrid SWA: a chunk that is not admitted is cached as if it had been computed."""

from array import array
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "chunk_not_admitted_cached"
REFERENCE = "https://github.com/sgl-project/sglang/pull/24275"
SUBSYSTEM = "scheduler (chunked prefill admission) and SWA radix cache"
WHAT = (
    "PrefillAdder.add_chunked_req declines the next chunk when the SWA budget is short, but the request's fill range "
    "has been expanded to the whole prompt: the following cache_unfinished_req inserts positions that no forward has "
    "computed, with whatever stands in the request's row there."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The tree (and the request's prefix) got slots for tokens beyond what was allocated and computed: row "
    "entries past the request's length, zeros or an earlier owner's slots.",
    "keywords": ["not allocated", "never written", "not computed", "beyond", "past", "stale", "page 0", "slot 0",
                 "free list", "already free", "not owned"],
}

WORKLOAD = {"draft": "none"}
PAGE = 16


@contextmanager
def plant(harmed):
    from sglang.srt.managers.schedule_policy import PrefillAdder
    from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache

    def make_add(original):
        def add_chunked_req(self, req):
            before = len(self.can_run_list)
            left = original(self, req)
            if left is req and len(self.can_run_list) == before:  # declined: the expanded range stays
                req.set_extend_range(len(req.prefix_indices), len(req.full_untruncated_fill_ids))
            return left

        return add_chunked_req

    def make_cache(original):
        def cache_unfinished_req(self, req, chunked=False):
            held = req.kv.kv_allocated_len if req.kv is not None else 0
            if req.extend_range.end > held:
                harmed(
                    f"request {req.rid} has {held} slots, {req.extend_range.end} positions of its row are taken as cached"
                )
            return original(self, req, chunked)

        return cache_unfinished_req

    with replaced(PrefillAdder, "add_chunked_req", make_add), replaced(SWARadixCache, "cache_unfinished_req", make_cache):
        yield


def drive(lab):
    with lab.server_args(page_size=PAGE):
        _drive(lab)


def _drive(lab):
    from sglang.srt.managers.schedule_batch import Req, ReqKvInfo
    from sglang.srt.managers.schedule_policy import PrefillAdder
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.common import evict_from_tree_cache, release_kv_cache
    from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
    from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache
    from sglang.srt.sampling.sampling_params import SamplingParams

    pool = SWAKVPool(
        size=PAGE * 24, size_swa=PAGE * 20, page_size=PAGE, dtype=torch.float32, head_num=1, head_dim=8,
        swa_attention_layer_ids=[0], full_attention_layer_ids=[1], device="cpu", enable_memory_saver=False,
    )
    allocator = SWATokenToKVPoolAllocator(PAGE * 24, PAGE * 20, PAGE, torch.float32, "cpu", pool, False)
    rows = ReqToTokenPool(size=2, max_context_len=160, device="cpu", enable_memory_saver=False)
    tree = SWARadixCache(
        CacheInitParams(
            disable=False, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=PAGE,
            sliding_window_size=32,
        )
    )
    scheduler = SimpleNamespace(
        tree_cache=tree, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, running_batch=None,
        waiting_queue=[], chunked_req=None,
    )

    def admit(req, swa_budget):  # SGLang's own decision about the chunk
        adder = SimpleNamespace(
            dllm_config=None, rem_chunk_tokens=48, rem_total_tokens=999, is_hybrid_swa=True, rem_swa_tokens=swa_budget,
            page_size=PAGE, prefill_delayer_single_pass=None, can_run_list=[], _update_prefill_budget=lambda *_, **__: 0,
            _mamba_gap_budget_for_req=lambda req: 0,
        )
        PrefillAdder.add_chunked_req(adder, req)
        return bool(adder.can_run_list)

    def prefill(req):
        start, end = req.extend_range.start, req.extend_range.end
        if req.req_pool_idx is None:
            rows.alloc([req])
        if end > start:
            evict_from_tree_cache(tree, end - start + PAGE)
            one, two = torch.tensor([start]), torch.tensor([end])
            last = req.prefix_indices[-1:] if start else torch.tensor([-1])
            slots = allocator.alloc_extend(one, one, two, two, last, end - start)
            rows.write((req.req_pool_idx, slice(0, start)), req.prefix_indices.to(torch.int32))
            rows.write((req.req_pool_idx, slice(start, end)), slots.to(torch.int32))
        if req.kv is None:
            req.kv = ReqKvInfo(kv_allocated_len=end, swa_evicted_seqlen=0)
        req.kv.kv_allocated_len = req.kv_committed_len = end

    def play(rid, first, length, declined, is_insert):
        lab.event(f"{rid} arrives, its first chunk is prefilled")
        req = Req(rid, "", array("q", range(first, first + length)), SamplingParams(max_new_tokens=16))
        req.init_next_round_input(tree)
        tree.inc_lock_ref(req.last_node)
        req.set_extend_range(len(req.prefix_indices), min(length, len(req.prefix_indices) + 48))
        prefill(req)
        scheduler.chunked_req = req
        lab.step(scheduler=scheduler)
        turn = 0
        while req.extend_range.end < length:
            lab.event(f"{rid}: a round of the scheduler")
            tree.cache_unfinished_req(req, chunked=True)  # the chunk so far is stashed
            req.init_next_round_input()
            turn += 1
            if len(req.prefix_indices) >= length:
                break
            if admit(req, 0 if turn in declined else 999):
                prefill(req)
            lab.step(scheduler=scheduler)
        if req.extend_range.end > req.kv.kv_allocated_len:  # it is believed to have been prefilled
            tree.cache_unfinished_req(req, chunked=True)
            req.kv.kv_allocated_len = req.kv_committed_len = length
        scheduler.chunked_req = None
        lab.step(scheduler=scheduler)
        for _ in range(4):
            lab.event(f"{rid} decodes")
            lens = torch.tensor([req.kv_committed_len])
            last = rows.req_to_token[req.req_pool_idx, lens - 1].long()
            slot = allocator.alloc_decode(lens + 1, lens + 1, last)
            rows.write((req.req_pool_idx, slice(int(lens), int(lens) + 1)), slot.to(torch.int32))
            req.output_ids.append(7)
            req.kv_committed_len += 1
            req.kv.kv_allocated_len += 1
            lab.step(scheduler=scheduler)
        lab.event(f"{rid} ends")
        release_kv_cache(req, tree, is_insert=is_insert)
        lab.step(scheduler=scheduler)

    play("a", 1000, 110, (), False)  # leaves its slots' numbers in the row that the next request gets
    play("b", 3000, 46, (), True)
    play("c", 5000, 110, (1,), True)
    lab.step(scheduler=scheduler)
