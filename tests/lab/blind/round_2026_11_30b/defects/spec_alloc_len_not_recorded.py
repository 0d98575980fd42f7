"""EAGLE, paged: the slots allocated for a decode step are not recorded in kv_allocated_len."""

from array import array
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "spec_alloc_len_not_recorded"
REFERENCE = "https://github.com/sgl-project/sglang/pull/13826"
SUBSYSTEM = "speculative worker (EAGLE decode allocation)"
WHAT = (
    "With page_size > 1 the speculative decode allocation does not update req.kv.kv_allocated_len: the next step "
    "allocates the same positions again and overwrites the row, and the release frees up to the old length only, so "
    "pages leak until the decode runs out of memory."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The request's speculative pages leak: its row was overwritten by a second allocation of the same "
    "positions (or released) while the earlier pages were never freed; kv_allocated_len is behind the allocator.",
    "keywords": ["leak", "overwritten", "never freed", "not freed", "lost", "orphan", "allocated_len"],
}

WORKLOAD = {"draft": "none"}
PAGE = 16


@contextmanager
def plant(harmed):
    from sglang.srt.speculative import eagle_utils

    def make(original):
        def alloc_for_spec_decode(tree_cache, req_to_token_pool, **named):
            before = [req.kv.kv_allocated_len for req in named["reqs"]]
            original(tree_cache, req_to_token_pool, **named)
            if tree_cache.token_to_kv_pool_allocator.page_size == 1:
                return
            for req, length, given in zip(named["reqs"], before, named["nxt_kv_lens_cpu"].tolist()):
                req.kv.kv_allocated_len = length  # code before the fix: recorded at page size 1 only
                if given > length:
                    harmed(f"request {req.rid}: slots up to {given} are allocated, kv_allocated_len says {length}")

        return alloc_for_spec_decode

    with replaced(eagle_utils, "alloc_for_spec_decode", make):
        yield


def drive(lab):
    with lab.server_args(
        page_size=PAGE, speculative_algorithm="EAGLE", speculative_num_steps=3, speculative_eagle_topk=1,
        speculative_num_draft_tokens=4,
    ):
        _drive(lab)


def _drive(lab):
    from sglang.srt.managers.schedule_batch import Req, ReqKvInfo
    from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.common import release_kv_cache
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
    from sglang.srt.mem_cache.radix_cache import RadixCache
    from sglang.srt.sampling.sampling_params import SamplingParams
    from sglang.srt.speculative.eagle_utils import eagle_prepare_for_decode

    pool = MHATokenToKVPool(
        size=PAGE * 40, page_size=PAGE, dtype=torch.float32, head_num=1, head_dim=8, layer_num=2, device="cpu",
        enable_memory_saver=False,
    )
    allocator = PagedTokenToKVPoolAllocator(PAGE * 40, PAGE, torch.float32, "cpu", pool, False)
    rows = ReqToTokenPool(size=4, max_context_len=256, device="cpu", enable_memory_saver=False)
    tree = RadixCache(
        CacheInitParams(disable=False, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=PAGE)
    )
    scheduler = SimpleNamespace(
        tree_cache=tree, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, running_batch=None,
        waiting_queue=[],
    )
    penalties = SimpleNamespace(penalizer_orchestrator=SimpleNamespace(is_required=False))

    def start(rid, first, length):
        req = Req(rid, "", array("q", range(first, first + length)), SamplingParams(max_new_tokens=32))
        req.last_node = tree.root_node
        tree.inc_lock_ref(req.last_node)
        rows.alloc([req])
        zero, end = torch.tensor([0]), torch.tensor([length])
        slots = allocator.alloc_extend(zero, zero, end, end, torch.tensor([-1]), length)
        rows.write((req.req_pool_idx, slice(0, length)), slots.to(torch.int32))
        req.kv = ReqKvInfo(kv_allocated_len=length, swa_evicted_seqlen=0)
        req.kv_committed_len = length
        return req

    lab.event("two requests are prefilled")
    reqs = [start("r0", 100, 37), start("r1", 500, 50)]
    lab.step(scheduler=scheduler)
    for step in range(6):
        lab.event(f"decode step {step}")
        indices = torch.tensor([req.req_pool_idx for req in reqs])
        eagle_prepare_for_decode(
            SimpleNamespace(
                reqs=reqs, batch_size=lambda: len(reqs), maybe_evict_swa=lambda: None, sampling_info=penalties,
                token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, tree_cache=tree,
                req_pool_indices=indices, device="cpu",
            )
        )
        for number, req in enumerate(reqs):
            taken = 1 + (step + number) % 4
            req.output_ids.extend(range(taken))
            req.kv_committed_len += taken
        lab.step(scheduler=scheduler)
    for req in reqs:
        lab.event(f"{req.rid} ends")
        release_kv_cache(req, tree)
        lab.step(scheduler=scheduler)
    lab.step(scheduler=scheduler)
