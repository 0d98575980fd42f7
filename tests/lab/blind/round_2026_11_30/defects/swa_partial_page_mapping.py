"""free_swa clears the mapping of the given tokens only, although it releases their whole SWA page."""

from contextlib import contextmanager

import torch
from triage.lab.patching import replaced

NAME = "swa_partial_page_mapping"
REFERENCE = "https://github.com/sgl-project/sglang/pull/27779"
SUBSYSTEM = "SWA KV allocator (paged)"
WHAT = (
    "free_swa on part of a page releases the whole SWA page but clears full_to_swa_index_mapping for the given tokens"
    " only; the page's other tokens keep pointing at the released page and free it a second time."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The SWA page was freed twice (the second free took it from the request it had been given to), because"
    " the full-to-SWA mapping of the rest of the page still pointed at the page freed before.",
    "keywords": ["stale", "double free", "freed twice", "already free", "freed page", "mapping"],
}
PAGE = 16


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator

    def make(original):
        def free_swa(self, free_index):
            if free_index.numel() == 0:
                return
            if not self.is_not_in_free_group:
                self.swa_free_group.append(self._copy_for_free_group(free_index))
                return
            swa_indices = self.full_to_swa_index_mapping[free_index]
            swa_indices = swa_indices[swa_indices > 0]
            self.swa_attn_allocator.free(swa_indices)
            self.full_to_swa_index_mapping[free_index] = 0
            # the oracle: what still points into the pages just released
            released = torch.unique(swa_indices // self.page_size)
            if released.numel() and torch.isin(self.full_to_swa_index_mapping[:-1] // self.page_size, released).any():
                harmed(f"SWA pages {released.tolist()} are free, but full slots are still mapped into them")

        return free_swa

    with replaced(SWATokenToKVPoolAllocator, "free_swa", make):
        yield


def extend(allocator, tokens):
    zero, length = torch.tensor([0]), torch.tensor([tokens])
    return allocator.alloc_extend(zero, zero, length, length, torch.tensor([-1]), tokens)


def drive(lab):
    bench = lab.bench(requests=0)
    allocator = bench.runtime.token_to_kv_pool_allocator
    lab.event("request one gets two pages")
    one = extend(allocator, 2 * PAGE)
    lab.step()
    lab.event("its first five tokens leave the window")
    allocator.free_swa(one[:5])
    lab.step()
    lab.event("request two gets a page")
    two = extend(allocator, PAGE)
    lab.step()
    lab.event("the rest of request one's first page leaves the window")
    allocator.free_swa(one[5:PAGE])
    lab.step()
    lab.event("request three gets a page")
    three = extend(allocator, PAGE)
    lab.step()
    lab.event("request two ends")
    allocator.free(two)
    lab.step()
    lab.event("request three ends")
    allocator.free(three)
    lab.step()
    lab.event("request one ends")
    allocator.free(one)
    lab.step()
