"""Play SGLang's radix trees on a CPU: one request reads a prefix, another is inserted with it.

What the fix `keep-locked-prefix` is asked by, verified by and tested on. Allocator and tree are
SGLang's own, the pool under them is uninitialised: nothing here has keys or values.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from triage.sglang.binding.free_lists import lists_of
from triage.sglang.binding.names import swa_allocator_class
from triage.sglang.fixes.construction import uninitialised

SWA_TREE = "SWARadixCache"
TREES = {
    SWA_TREE: "sglang.srt.mem_cache.swa_radix_cache",
    "UnifiedRadixCache": "sglang.srt.mem_cache.unified_radix_cache",
}
"""Class -> module. The first is what servers of Gemma-4 have up to 0.5.15.post1."""


class RevivedPrefix:
    """A cached prefix without an SWA side, which request A locks and reads, in one of `TREES`.

    Args:
        tree: the class; raises ImportError where this SGLang does not have it.
    """

    PAGE, PAGES = 4, 2
    """Tokens of a page, which is the window too; pages of the prefix that is revived."""

    def __init__(self, tree: str) -> None:
        from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

        size = 12 * self.PAGE
        self.allocator: Any = swa_allocator_class()(
            size, size, self.PAGE, torch.float16, "cpu", uninitialised(SWAKVPool), need_sort=False
        )
        self.cache: Any = _tree(tree, self.allocator, self.PAGE)
        prefix = list(range(1, 1 + self.PAGES * self.PAGE))
        self.shared, self.own = prefix, [100 + token for token in range(self.PAGE)]
        self.read_by_a = self.take(self.PAGES + 1)
        for length in (len(prefix), len(prefix) + self.PAGE):  # two nodes: the prefix, and A's own
            self.insert([*prefix, *self.own][:length], self.read_by_a[:length])
        _, self.a = self.match([*prefix, *self.own])
        self.lock = self.cache.inc_lock_ref(self.a)
        self._evict_swa(len(prefix))
        assert not self.mapping[self.read_by_a[: len(prefix)]].any(), "the SWA side is still there"

    def insert_again(self, swa_evicted: int = 0) -> Tensor:
        """Request B computed the prefix anew and is inserted; its slots, `(tokens,)` int64.

        swa_evicted: tokens of the prefix whose SWA side B has given back already.
        """
        slots = self.take(self.PAGES + 1)
        if swa_evicted:
            self.allocator.free_swa(slots[:swa_evicted])
        own = [200 + token for token in range(self.PAGE)]
        self.insert([*self.shared, *own], slots, swa_evicted)
        return slots

    def unlock_a(self) -> None:
        """A ends; its prefix stays in the tree."""
        params = _params("DecLockRefParams")
        if "swa_uuid_for_lock" in params.__dataclass_fields__:
            given = params(swa_uuid_for_lock=self.lock.swa_uuid_for_lock)
        else:  # from 0.5.23 the receipt itself
            given = self.lock.to_dec_params()
        self.cache.dec_lock_ref(self.a, given)

    def end_a(self) -> None:
        """A ends, and the tree gives back all that it holds."""
        self.unlock_a()
        everything = 12 * self.PAGE
        evicted = _params("EvictParams")(num_tokens=everything, swa_num_tokens=everything)
        self.cache.evict(evicted)

    def freed_while_read(self) -> list[int]:
        """Full pages of A's row that the allocator calls free."""
        named = set((self.read_by_a // self.PAGE).tolist())
        return sorted(named & set(free_pages(self.allocator.full_attn_allocator)))

    def books(self) -> dict[str, Any]:
        """What is free of each pool, the mapping by page, and the prefix that can be matched."""
        mapped = (self.mapping[:: self.PAGE] // self.PAGE).tolist()
        return {
            "free full pages": free_pages(self.allocator.full_attn_allocator),
            "free SWA pages": free_pages(self.allocator.swa_attn_allocator),
            "SWA page of each full page": mapped,
            "tokens of A that can be matched": self.match([*self.shared, *self.own])[0],
        }

    @property
    def mapping(self) -> Tensor:
        mapping: Tensor = self.allocator.full_to_swa_index_mapping[:-1]
        return mapping

    def take(self, pages: int) -> Tensor:
        """Slots of both pools, mapped, `(pages * PAGE,)`; as a prefill takes them."""
        tokens = pages * self.PAGE
        full, swa = (
            sub.alloc(tokens)
            for sub in (self.allocator.full_attn_allocator, self.allocator.swa_attn_allocator)
        )
        self.mapping[full] = swa.to(self.mapping.dtype)
        slots: Tensor = full.to(torch.int64)
        return slots

    def insert(self, tokens: list[int], slots: Tensor, swa_evicted: int = 0) -> None:
        params = _params("InsertParams")
        of_swa: dict[str, Any] = {"swa_evicted_seqlen": swa_evicted}
        if not set(of_swa) <= params.__dataclass_fields__.keys():  # from 0.5.23
            of_swa = {"component_evicted_seqlens": {_components()[1]: swa_evicted}}
        held, _ = self.match(tokens)
        self.cache.insert(
            params(key=_key(tokens), value=slots.clone(), prev_prefix_len=held, **of_swa)
        )

    def match(self, tokens: list[int]) -> tuple[int, Any]:
        """Tokens that can be matched, and their last node; from 0.5.23 its id."""
        found = self.cache.match_prefix(_params("MatchPrefixParams")(key=_key(tokens)))
        if hasattr(found, "device_prefix_len"):
            return found.device_prefix_len, found.last_device_node
        return len(found.device_indices), found.last_device_node

    def _evict_swa(self, tokens: int) -> None:
        self.cache.evict(_params("EvictParams")(num_tokens=0, swa_num_tokens=tokens))


def free_pages(sub: Any) -> list[int]:
    """Everything that an allocator of one pool calls free, in order."""
    return sorted(int(page) for part in lists_of(sub) for page in part.tolist())


def _key(tokens: list[int]) -> Any:
    from array import array
    from inspect import signature

    from sglang.srt.mem_cache.radix_cache import RadixKey

    packed = "array" in str(signature(RadixKey.__init__).parameters["token_ids"])
    return RadixKey(array("q", tokens) if packed else tokens, None)


def _params(name: str) -> Any:
    return getattr(importlib.import_module("sglang.srt.mem_cache.base_prefix_cache"), name)


def _tree(name: str, allocator: Any, page: int) -> Any:
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams

    cls = getattr(importlib.import_module(TREES[name]), name)
    rows = SimpleNamespace(req_to_token=torch.zeros(1, 1, dtype=torch.int32), size=1)
    params = CacheInitParams(False, rows, allocator, page, sliding_window_size=page)
    if name != SWA_TREE:
        params.tree_components = _components()
    return cls(params)


def _components() -> tuple[Any, ...]:
    try:
        from sglang.srt.mem_cache.unified_cache.component_type import ComponentType
    except ImportError:  # up to 0.5.18
        from sglang.srt.mem_cache.unified_cache_components.tree_component import ComponentType
    return ComponentType.FULL, ComponentType.SWA
