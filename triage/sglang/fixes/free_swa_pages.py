"""Fix `free-swa-pages`: the mapping is cleared page by page, as the SWA allocator frees.

The failure (up to 0.5.13.post1): `free_swa` clears the mapping of the slots it was
given, while the paged allocator under it frees their whole pages. Freeing part of a page
leaves entries that point at a page that is free: the rest of the page, freed later,
frees it a second time, and two requests are handed the same SWA page.

The rule: with a page size above 1, `free_swa` is given all slots of the pages it touches,
so that what is freed and what is unmapped are the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from triage.sglang.binding.hooks import Hook
from triage.sglang.binding.names import swa_allocator_class, swa_allocator_path
from triage.sglang.fixes.construction import uninitialised
from triage.sglang.fixes.fix import Fix, Probe, already_fixed, needed, not_applicable


class FreeSwaPages(Fix):
    name = "free-swa-pages"
    what = "free_swa clears the mapping of whole pages, as the allocator frees whole pages"

    @staticmethod
    def probe() -> Probe:
        """Free one slot of a mapped page of a real allocator on the CPU and look at the rest."""
        from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

        page, pool = 4, uninitialised(SWAKVPool)
        allocator = swa_allocator_class()(
            4 * page, 4 * page, page, torch.float16, "cpu", pool, need_sort=False
        )
        mapping = allocator.full_to_swa_index_mapping
        if len(mapping) < 2 * page:
            return not_applicable("the allocator keeps no mapping of slots")
        slots = allocator.swa_attn_allocator.alloc(page)
        mapping[page : 2 * page] = slots.to(mapping.dtype)
        allocator.free_swa(torch.tensor([page]))
        left = int((mapping[page : 2 * page] > 0).sum())
        if left:
            return needed(f"{left} of {page} slots stay mapped to a SWA page that was freed")
        return already_fixed("freeing one slot unmaps its whole page")

    def hooks(self) -> list[Hook]:
        return [Hook(f"{swa_allocator_path()}.free_swa", self.around_free, f"fix {self.name}")]

    def around_free(self, original: Any, allocator: Any, free_index: Tensor) -> Any:
        page = int(allocator.page_size)
        if not self.armed or page == 1 or free_index.numel() == 0:
            return original(allocator, free_index)
        self.uses += 1
        return original(allocator, whole_pages(free_index, page))


def whole_pages(slots: Tensor, page_size: int) -> Tensor:
    """Every slot of every page that `slots` touches, each once, ascending."""
    pages = torch.unique(slots // page_size)
    offsets = torch.arange(page_size, dtype=slots.dtype, device=slots.device)
    return (pages[:, None] * page_size + offsets).reshape(-1)
