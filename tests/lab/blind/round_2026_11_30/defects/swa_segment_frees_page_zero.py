"""0.5.23 as it stands: free_swa_segment releases page 0 for tokens that have no SWA slot."""

from contextlib import contextmanager

import torch
from triage.lab.patching import replaced

NAME = "swa_segment_frees_page_zero"
REFERENCE = "https://github.com/sgl-project/sglang/pull/38519"
SUBSYSTEM = "SWA KV allocator (segment free)"
WHAT = (
    "free_swa_segment does not skip unmapped tokens as free_swa does: their mapping reads 0, so the padding page 0 goes onto"
    " the SWA free list, once per unmapped page, and is handed out."
)
RELEASES = ("0.5.23",)
EXPECTED = {
    "sentence": "The reserved padding page 0 was put onto the SWA free list (several times): tokens without an SWA slot were"
    " freed on the SWA side.",
    "keywords": ["page 0", "slot 0", "padding", "reserved", "unmapped", "twice"],
}
PAGE = 16


def applies(version):
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator

    return "" if hasattr(SWATokenToKVPoolAllocator, "_free_swa_pages_none_cuda") else "no segment free for SWA pages"


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator

    def make(original):
        def _free_swa_pages_none_cuda(self, full_page_representatives):
            pages = original(self, full_page_representatives)
            if (pages <= 0).any():
                harmed(f"SWA pages {pages.tolist()} are released, 0 is the padding page")
            return pages

        return _free_swa_pages_none_cuda

    with replaced(SWATokenToKVPoolAllocator, "_free_swa_pages_none_cuda", make):
        yield


@contextmanager
def corrected():
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator

    def make(original):
        def _free_swa_pages_none_cuda(self, full_page_representatives):
            mapped = self.full_to_swa_index_mapping[full_page_representatives] > 0
            return original(self, full_page_representatives[mapped])

        return _free_swa_pages_none_cuda

    with replaced(SWATokenToKVPoolAllocator, "_free_swa_pages_none_cuda", make):
        yield


def drive(lab):
    bench = lab.bench(requests=0)
    allocator = bench.runtime.token_to_kv_pool_allocator
    zero, fill, tail = torch.tensor([0]), 6 * PAGE, 3 * PAGE
    length = torch.tensor([fill])
    lab.event("decode allocates for a transferred prompt: SWA slots for the tail only")
    slots = allocator.alloc_extend_swa_tail(zero, zero, length, length, torch.tensor([-1]), fill, tail)
    lab.step()
    lab.event("the SWA part of all of it is evicted")
    allocator.free_swa_segment(slots, start_pos=0)
    lab.step()
    lab.event("another request")
    six = torch.tensor([6 * PAGE])
    other = allocator.alloc_extend(zero, zero, six, six, torch.tensor([-1]), 6 * PAGE)
    lab.step()
    lab.event("it ends")
    allocator.free(other)
    lab.step()
    lab.event("the first ends")
    allocator.free_full_segment(slots, start_pos=0)
    lab.step()
