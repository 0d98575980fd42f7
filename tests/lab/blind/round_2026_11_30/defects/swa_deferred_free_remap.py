"""0.5.18 as it stands: free_swa in a free group looks the SWA slots up only when the group ends."""

from contextlib import ExitStack, contextmanager

import torch
from triage.lab.patching import replaced

NAME = "swa_deferred_free_remap"
REFERENCE = "https://github.com/sgl-project/sglang/pull/36135"
SUBSYSTEM = "SWA KV allocator (free group)"
WHAT = (
    "free_swa inside a free group queues full indices and resolves their mapping at free_group_end; a tombstone"
    " recovered in the same group has been remapped by then, so the new SWA page is freed and the old one is lost."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The free queued in the group took the SWA page that the mapping had been pointed at meanwhile (still in"
    " use), and the page that was to be freed leaked.",
    "keywords": ["leak", "lost", "still in use", "remap", "mapping", "free group", "live"],
}
PAGE = 16


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator

    def make(original):
        def set_full_to_swa_mapping(self, full_indices, swa_indices):
            queued = [t.to(torch.int64) for t in self.swa_free_group]
            if queued:
                queued = torch.cat(queued)
                again = queued[torch.isin(queued, full_indices.to(torch.int64))]
                old = self.full_to_swa_index_mapping[again]
                if (old > 0).any():
                    pages = torch.unique(old[old > 0] // self.page_size).tolist()
                    harmed(f"SWA pages {pages} wait in the free group under full slots that are mapped anew: they are lost")
            return original(self, full_indices, swa_indices)

        return set_full_to_swa_mapping

    with replaced(SWATokenToKVPoolAllocator, "set_full_to_swa_mapping", make):
        yield


@contextmanager
def corrected():
    """Resolve and unmap at once, release the SWA slots when the group ends."""
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator

    waiting = {}

    def make_free(original):
        def free_swa(self, free_index):
            if free_index.numel() == 0:
                return
            if self.is_not_in_free_group:
                return original(self, free_index)
            where = free_index if self.page_size == 1 else self._expand_to_full_pages(free_index)
            swa = self.full_to_swa_index_mapping[where]
            self.full_to_swa_index_mapping[where] = 0
            waiting.setdefault(id(self), []).append(swa[swa > 0])

        return free_swa

    def make_end(original):
        def free_group_end(self):
            original(self)
            parts = waiting.pop(id(self), [])
            if parts:
                self.swa_attn_allocator.free(torch.cat(parts))

        return free_group_end

    with ExitStack() as stack:
        stack.enter_context(replaced(SWATokenToKVPoolAllocator, "free_swa", make_free))
        stack.enter_context(replaced(SWATokenToKVPoolAllocator, "free_group_end", make_end))
        yield


def extend(allocator, tokens):
    zero, length = torch.tensor([0]), torch.tensor([tokens])
    return allocator.alloc_extend(zero, zero, length, length, torch.tensor([-1]), tokens)


def drive(lab):
    bench = lab.bench(requests=0)
    allocator = bench.runtime.token_to_kv_pool_allocator
    lab.event("a cached node and a request that computed the same tokens again")
    node = extend(allocator, 2 * PAGE)
    again = extend(allocator, 2 * PAGE)
    lab.step()
    lab.event("in one free group: the node loses its SWA, then takes that of the other request")
    allocator.free_group_begin()
    allocator.free_swa(node)
    swa = allocator.translate_loc_from_full_to_swa(again)
    allocator.set_full_to_swa_mapping(node, swa)
    allocator.full_to_swa_index_mapping[again] = 0
    allocator.full_attn_allocator.free(again)
    allocator.free_group_end()
    lab.step()
    lab.event("a further request")
    other = extend(allocator, 2 * PAGE)
    lab.step()
    lab.event("it ends")
    allocator.free(other)
    lab.step()
    lab.event("the node is evicted")
    allocator.free(node)
    lab.step()
