"""Hybrid SWA: a decode allocation that fails on the SWA side keeps the full side's pages."""

from array import array
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "swa_decode_half_alloc"
REFERENCE = "https://github.com/sgl-project/sglang/pull/35338"
SUBSYSTEM = "SWA KV allocator (decode allocation)"
WHAT = (
    "SWATokenToKVPoolAllocator.alloc_decode takes the full pool's pages before it knows whether the SWA pool has "
    "enough: when that fails it returns None, and the full pages are in nobody's hands."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "Pages of the full pool leaked in an allocation that failed (returned None): they are off the free "
    "list and belong to nobody.",
    "keywords": ["leak", "lost", "orphan", "nobody", "not freed", "never freed", "no owner", "returned none"],
}

WORKLOAD = {"draft": "none"}
PAGE = 16


@contextmanager
def plant(harmed):  # it is in the release as it stands: observe only
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator

    def make(original):
        def alloc_decode(self, seq_lens, seq_lens_cpu, last_loc):
            before = self.full_attn_allocator.available_size()
            result = original(self, seq_lens, seq_lens_cpu, last_loc)
            gone = before - self.full_attn_allocator.available_size()
            if result is None and gone:
                harmed(f"the allocation failed, {gone // self.page_size} pages of the full pool are gone all the same")
            return result

        return alloc_decode

    with replaced(SWATokenToKVPoolAllocator, "alloc_decode", make):
        yield


@contextmanager
def corrected():
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
    from sglang.srt.utils.common import get_num_new_pages

    def make(original):
        def alloc_decode(self, seq_lens, seq_lens_cpu, last_loc):
            pages = get_num_new_pages(seq_lens=seq_lens_cpu, page_size=self.page_size, decode=True)
            if not self.new_pages_available(pages, pages):
                return None
            return original(self, seq_lens, seq_lens_cpu, last_loc)

        return alloc_decode

    with replaced(SWATokenToKVPoolAllocator, "alloc_decode", make):
        yield


def drive(lab):
    with lab.server_args(page_size=PAGE):
        _drive(lab)


def _drive(lab):
    from sglang.srt.managers.schedule_batch import Req, ReqKvInfo
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.chunk_cache import SWAChunkCache
    from sglang.srt.mem_cache.common import release_kv_cache
    from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
    from sglang.srt.sampling.sampling_params import SamplingParams

    pool = SWAKVPool(
        size=PAGE * 24, size_swa=PAGE * 8, page_size=PAGE, dtype=torch.float32, head_num=1, head_dim=8,
        swa_attention_layer_ids=[0], full_attention_layer_ids=[1], device="cpu", enable_memory_saver=False,
    )
    allocator = SWATokenToKVPoolAllocator(PAGE * 24, PAGE * 8, PAGE, torch.float32, "cpu", pool, False)
    rows = ReqToTokenPool(size=4, max_context_len=128, device="cpu", enable_memory_saver=False)
    tree = SWAChunkCache(
        CacheInitParams(
            disable=True, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=PAGE,
            sliding_window_size=64,
        )
    )
    scheduler = SimpleNamespace(
        tree_cache=tree, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, running_batch=None,
        waiting_queue=[],
    )

    def start(rid, length):
        req = Req(rid, "", array("q", range(length)), SamplingParams(max_new_tokens=32))
        rows.alloc([req])
        zero, end = torch.tensor([0]), torch.tensor([length])
        slots = allocator.alloc_extend(zero, zero, end, end, torch.tensor([-1]), length)
        rows.write((req.req_pool_idx, slice(0, length)), slots.to(torch.int32))
        req.kv = ReqKvInfo(kv_allocated_len=length, swa_evicted_seqlen=0)
        req.kv_committed_len = length
        return req

    def decode(reqs):
        indices = torch.tensor([req.req_pool_idx for req in reqs])
        lens = torch.tensor([req.kv_committed_len for req in reqs])
        last = rows.req_to_token[indices, lens - 1].long()
        slots = allocator.alloc_decode(lens + 1, lens + 1, last)
        if slots is None:
            return False
        rows.write((indices, lens), slots.to(torch.int32))
        for req in reqs:
            req.output_ids.append(7)
            req.kv_committed_len += 1
            req.kv.kv_allocated_len += 1
        return True

    for turn in range(2):
        lab.event("three requests are prefilled: six of the eight SWA pages")
        reqs = [start(f"r{turn}{number}", 30) for number in range(3)]
        lab.step(scheduler=scheduler)
        for step in range(6):
            lab.event(f"decode step {step}")
            done = decode(reqs)
            lab.step(scheduler=scheduler)
            if not done:
                lab.event("the last request is retracted, the others go on")
                release_kv_cache(reqs.pop(), tree, is_insert=False)
                lab.step(scheduler=scheduler)
        for req in reqs:
            lab.event(f"{req.rid} ends")
            release_kv_cache(req, tree)
            lab.step(scheduler=scheduler)
    lab.step(scheduler=scheduler)
