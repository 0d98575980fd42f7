"""All-SWA model: slots that decode freed behind the window are put into the radix tree when the request ends."""

from array import array
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "pure_swa_recaches_evicted"
REFERENCE = "https://github.com/sgl-project/sglang/pull/31486"
SUBSYSTEM = "radix cache (PureSWARadixCache)"
WHAT = (
    "With swa_evict_floor = 0, PureSWARadixCache.cache_finished_req inserts the whole sequence, although decode has "
    "freed the slots behind the window already (one pool, no separate SWA slots): the tree hands out free slots."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The tree holds slots that are on the free list (freed behind the sliding window during decode); they "
    "will be given to other requests while cached, and freed a second time on eviction.",
    "keywords": ["free list", "already free", "freed", "evicted", "double free", "stale"],
}

WORKLOAD = {"draft": "none"}
WINDOW = 16


def _free(tree):
    return set(tree.token_to_kv_pool_allocator.swa_attn_allocator.free_pages.tolist())


@contextmanager
def plant(harmed):  # it is in the release as it stands: observe only
    from sglang.srt.mem_cache.pure_swa_radix_cache import PureSWARadixCache

    def make(original):
        def cache_finished_req(self, req, is_insert=True, *, kv_len_to_handle):
            original(self, req, is_insert, kv_len_to_handle=kv_len_to_handle)
            both = _free(self) & set(self.all_values_flatten().tolist())
            if both:
                harmed(f"request {req.rid}: {len(both)} slots, from {min(both)}, are in the tree and on the free list")

        return cache_finished_req

    with replaced(PureSWARadixCache, "cache_finished_req", make):
        yield


@contextmanager
def corrected():  # the proposed fix: behind the hole nothing is inserted, what is alive is freed once
    from sglang.srt.mem_cache.pure_swa_radix_cache import PureSWARadixCache

    def make(original):
        def cache_finished_req(self, req, is_insert=True, *, kv_len_to_handle):
            protected, evicted = req.cache_protected_len, req.kv.swa_evicted_seqlen
            if evicted <= protected or req.swa_evict_floor:
                return original(self, req, is_insert, kv_len_to_handle=kv_len_to_handle)
            row = self.req_to_token_pool.req_to_token[req.req_pool_idx, :kv_len_to_handle]
            self.token_to_kv_pool_allocator.free(row[evicted:])
            if req.last_node is not None:
                self.dec_lock_ref(req.last_node)

        return cache_finished_req

    with replaced(PureSWARadixCache, "cache_finished_req", make):
        yield


def drive(lab):
    with lab.server_args(page_size=1):
        _drive(lab)


def _drive(lab):
    from sglang.srt.managers.schedule_batch import Req, ReqKvInfo
    from sglang.srt.mem_cache.allocator.swa import PureSWATokenToKVPoolAllocator
    from sglang.srt.mem_cache.base_prefix_cache import MatchPrefixParams
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.common import evict_from_tree_cache, free_swa_out_of_window_slots, release_kv_cache
    from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
    from sglang.srt.mem_cache.pure_swa_radix_cache import PureSWARadixCache
    from sglang.srt.mem_cache.radix_cache import RadixKey
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
    from sglang.srt.sampling.sampling_params import SamplingParams

    pool = SWAKVPool(
        size=1, size_swa=160, page_size=1, dtype=torch.float32, head_num=1, head_dim=8,
        swa_attention_layer_ids=[0, 1], full_attention_layer_ids=[], device="cpu", enable_memory_saver=False,
    )
    allocator = PureSWATokenToKVPoolAllocator(160, 1, torch.float32, "cpu", pool, False)
    rows = ReqToTokenPool(size=4, max_context_len=160, device="cpu", enable_memory_saver=False)
    tree = PureSWARadixCache(
        CacheInitParams(
            disable=False, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=1,
            sliding_window_size=WINDOW,
        )
    )
    scheduler = SimpleNamespace(
        tree_cache=tree, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, running_batch=None,
        waiting_queue=[],
    )

    def start(rid, prompt):
        req = Req(rid, "", array("q", prompt), SamplingParams(max_new_tokens=64))
        match = tree.match_prefix(MatchPrefixParams(key=RadixKey(array("q", prompt[:-1]), None)))
        cached = match.device_indices
        req.prefix_indices, req.last_node = cached, match.last_device_node
        req.cache_protected_len = len(cached)
        tree.inc_lock_ref(req.last_node)
        rows.alloc([req])
        need = len(prompt) - len(cached)
        evict_from_tree_cache(tree, need)
        slots = allocator.alloc(need)
        rows.write((req.req_pool_idx, slice(0, len(cached))), cached.to(torch.int32))
        rows.write((req.req_pool_idx, slice(len(cached), len(prompt))), slots.to(torch.int32))
        req.kv = ReqKvInfo(kv_allocated_len=len(prompt), swa_evicted_seqlen=0)
        req.kv_committed_len = len(prompt)
        return req

    def decode(req):
        free_swa_out_of_window_slots(
            req, req.kv_committed_len, sliding_window_size=WINDOW, page_size=1, req_to_token_pool=rows,
            token_to_kv_pool_allocator=allocator,
        )
        slot = allocator.alloc(1)
        rows.write((req.req_pool_idx, slice(req.kv_committed_len, req.kv_committed_len + 1)), slot.to(torch.int32))
        req.output_ids.append(1000 + len(req.output_ids))
        req.kv_committed_len += 1
        req.kv.kv_allocated_len += 1

    prompt = list(range(10, 50))
    for number in range(3):
        lab.event(f"request {number} starts")
        req = start(f"r{number}", prompt if number < 2 else [7] + prompt)
        lab.step(scheduler=scheduler)
        for _ in range(20):
            lab.event(f"request {number} decodes")
            decode(req)
            lab.step(scheduler=scheduler)
        lab.event(f"request {number} ends")
        release_kv_cache(req, tree)
        lab.step(scheduler=scheduler)
    lab.step(scheduler=scheduler)
