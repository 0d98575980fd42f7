"""Defects of allocators, mapping and request rows, re-injected one at a time.

A defect of SGLang's own function stands below the hooks on it; a defect of its
caller stands above them, where the caller is.

Long because each bug is a few lines of SGLang and the words about it; one family a file.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any
from unittest import mock

import torch

from triage.lab.bugs.bug import SGLANG, Bug, Harmed, small
from triage.lab.patching import replaced

_PLAIN = small(draft="none")
_RELEASING = small(keeps_rejected=False, draft="eagle")


def swa_allocator() -> Any:
    from triage.sglang.binding.names import swa_allocator_class

    return swa_allocator_class()


def _paged() -> Any:
    from sglang.srt.mem_cache import allocator

    return allocator.PagedTokenToKVPoolAllocator


def nth(count: int, act: Callable[[], None]) -> Callable[[], bool]:
    """True, once, at the `count`-th call."""
    state = {"calls": 0}

    def due() -> bool:
        state["calls"] += 1
        if state["calls"] == count:
            act()
            return True
        return False

    return due


def caller(owner: Any, name: str, around: Callable[[Any], Any]) -> AbstractContextManager[Any]:
    """A caller that does something else: above whatever hooks stand on the function."""
    return mock.patch.object(owner, name, around(getattr(owner, name)))


def _free_twice(harmed: Harmed) -> AbstractContextManager[Any]:
    def around(free: Any) -> Any:
        due = nth(3, lambda: None)

        def twice(self: Any, free_index: Any) -> None:
            again = free_index.clone()
            free(self, free_index)
            if len(again) and due():
                harmed()
                free(self, again)

        return twice

    return caller(swa_allocator(), "free", around)


def _lose_the_tail(harmed: Harmed) -> AbstractContextManager[Any]:
    def around(free: Any) -> Any:
        def short(self: Any, free_index: Any) -> None:
            page = int(self.page_size)
            if len(free_index) > 2 * page:
                harmed()
                free_index = free_index[:page]
            free(self, free_index)

        return short

    return caller(swa_allocator(), "free", around)


def _token_wise(harmed: Harmed) -> AbstractContextManager[None]:
    """`free_swa` as it was up to 0.5.13.post1."""

    def make(original: Any) -> Any:
        def free_swa(self: Any, free_index: Any) -> None:
            indices = free_index.to(torch.int64)
            swa = self.full_to_swa_index_mapping[indices]
            self.swa_attn_allocator.free(swa[swa > 0])
            self.full_to_swa_index_mapping[indices] = 0

        return free_swa

    return replaced(swa_allocator(), "free_swa", make)


def _mapping_not_written(harmed: Harmed) -> AbstractContextManager[None]:
    def make(original: Any) -> Any:
        def alloc_decode(self: Any, *args: Any, **kwargs: Any) -> Any:
            before = self.full_to_swa_index_mapping.clone()
            slots = original(self, *args, **kwargs)
            if slots is not None:
                self.full_to_swa_index_mapping[slots] = before[slots]
            return slots

        return alloc_decode

    return replaced(swa_allocator(), "alloc_decode", make)


def _pages_from(first: int, beyond: int) -> Callable[[Harmed], AbstractContextManager[None]]:
    def inject(harmed: Harmed) -> AbstractContextManager[None]:
        def make(original: Any) -> Any:
            def clear(self: Any) -> None:
                original(self)
                self.free_pages = torch.arange(first, self.num_pages + beyond, dtype=torch.int64)
                if beyond > 1:
                    self.free_pages = self.free_pages.flip(0)

            return clear

        return replaced(_paged(), "clear", make)

    return inject


def _not_taken(harmed: Harmed) -> AbstractContextManager[None]:
    """The third extend leaves its pages in the free list."""

    def make(original: Any) -> Any:
        due = nth(5, lambda: None)

        def alloc_extend(self: Any, *args: Any, **kwargs: Any) -> Any:
            pages = self.free_pages
            slots = original(self, *args, **kwargs)
            if slots is not None and len(pages) > len(self.free_pages) and due():
                self.free_pages = pages
            return slots

        return alloc_extend

    return replaced(_paged(), "alloc_extend", make)


def evict_ahead(tokens: int) -> Callable[[Harmed], AbstractContextManager[Any]]:
    """Eviction believes the request is `tokens` further than it is."""

    def inject(harmed: Harmed) -> AbstractContextManager[Any]:
        try:
            from sglang.srt.mem_cache import common

            evict = common.free_swa_out_of_window_slots
        except (ImportError, AttributeError):  # up to 0.5.13.post1
            from sglang.srt.managers.schedule_batch import ScheduleBatch

            def make(original: Any) -> Any:
                return lambda self, req, pre_len: original(self, req, pre_len + tokens)

            return replaced(ScheduleBatch, "_evict_swa", make)

        @wraps(evict)  # the lab asks for its parameters
        def ahead(req: Any, pre_len: int, **kwargs: Any) -> None:
            evict(req, pre_len + tokens, **kwargs)

        return mock.patch.object(common, "free_swa_out_of_window_slots", ahead)

    return inject


def _row_released_twice(harmed: Harmed) -> AbstractContextManager[Any]:
    from sglang.srt.mem_cache.memory_pool import ReqToTokenPool

    def around(free: Any) -> Any:
        def twice(self: Any, req: Any) -> None:
            holder = req.kv if hasattr(req.kv, "holds_kv") else req
            row = holder.req_pool_idx
            free(self, req)
            harmed()
            holder.req_pool_idx = row
            free(self, req)

        return twice

    return caller(ReqToTokenPool, "free", around)


def _one_swa_page_for_two(harmed: Harmed) -> AbstractContextManager[None]:
    """The mapping of a fresh page is that of a page handed out before."""

    def make(original: Any) -> Any:
        due = nth(4, lambda: None)
        held: list[torch.Tensor] = []

        def alloc_extend(self: Any, *args: Any, **kwargs: Any) -> Any:
            slots = original(self, *args, **kwargs)
            page = int(self.page_size)
            if slots is not None and len(slots) >= page:
                fresh = slots[-page:] // page * page + torch.arange(page)
                if held and due():
                    self.full_to_swa_index_mapping[fresh] = self.full_to_swa_index_mapping[held[0]]
                held.append(fresh)
            return slots

        return alloc_extend

    return replaced(swa_allocator(), "alloc_extend", make)


def _remembered_translation(harmed: Harmed) -> AbstractContextManager[None]:
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    def make(original: Any) -> Any:
        memory: dict[tuple[int, ...], Any] = {}

        def translate(self: Any, kv_indices: Any) -> Any:
            right = original(self, kv_indices)
            answer = memory.setdefault(tuple(kv_indices.shape), right)
            if not torch.equal(answer.to(right.dtype), right):
                harmed()
            return answer

        return translate

    return replaced(SWAKVPool, "translate_loc_from_full_to_swa", make)


def _already_page_wise() -> str:
    page_wise = hasattr(swa_allocator(), "_expand_to_full_pages")
    return "" if page_wise else "released like this: see free-swa-by-token"


ALLOCATION = (
    Bug(
        "double-free",
        "a caller frees the same slots twice",
        f"{SGLANG}/pull/18694",
        ("I6", "I5"),
        inject=_free_twice,
        cause="double-free",
    ),
    Bug(
        "leak-at-finish",
        "a finished request gives back only its first page",
        f"{SGLANG}/pull/13826",
        ("I7",),
        inject=_lose_the_tail,
        cause="leak",
    ),
    Bug(
        "free-swa-by-token-again",
        "free_swa clears the mapping by token while pages are freed whole",
        f"{SGLANG}/pull/27779",
        ("I6", "I4"),
        inject=_token_wise,
        scenario=_RELEASING,
        overlap=False,  # no worker that releases rejected tokens runs under overlap
        applies=_already_page_wise,
        cause="stale-mapping",
    ),
    Bug(
        "mapping-not-written",
        "alloc_decode returns slots whose mapping it did not write",
        f"{SGLANG}/pull/25385",
        ("I8", "I20"),
        inject=_mapping_not_written,
        scenario=_PLAIN,
        cause="mapping-not-written",
    ),
    Bug(
        "dummy-page-handed-out",
        "the free list starts at page 0",
        f"{SGLANG}/pull/38519",
        ("I20", "I5"),
        inject=_pages_from(0, 1),
        cause="illegal-allocation",
    ),
    Bug(
        "page-past-the-end",
        "the free list holds a page beyond the pool",
        "re-injected here: bound of size instead of size + page_size",
        ("I20", "I5"),
        inject=_pages_from(1, 3),
        cause="illegal-allocation",
    ),
    Bug(
        "page-handed-out-twice",
        "an allocation leaves its pages in the free list",
        f"{SGLANG}/issues/38840",
        ("I5",),
        inject=_not_taken,
        cause="page-owned-twice",
    ),
    Bug(
        "evicted-inside-the-window",
        "SWA eviction runs two pages ahead of the window",
        f"{SGLANG}/pull/22470",
        ("I15", "I1", "I17"),
        inject=evict_ahead(33),
        cause="freed-page",
    ),
    Bug(
        "extended-after-eviction",
        "a request is extended whose last SWA slot was evicted",
        "by reading: alloc_extend maps the new tokens into the dummy page",
        ("I15", "I20", "I6"),
        inject=evict_ahead(96),
        cause="freed-page",
        also=("illegal-allocation", "dummy-page-freed"),
    ),
    Bug(
        "row-released-twice",
        "a request's row of req_to_token is released twice",
        f"{SGLANG}/pull/18694",
        ("I17",),
        inject=_row_released_twice,
        cause="double-release",
    ),
    Bug(
        "two-full-pages-one-swa-page",
        "two full pages are mapped to one SWA page",
        f"{SGLANG}/pull/35501",
        ("I8", "I4", "I5"),
        inject=_one_swa_page_for_two,
        cause="stale-mapping",
    ),
    Bug(
        "remembered-translation",
        "the translation of an earlier call is returned again",
        f"{SGLANG}/pull/25889",
        ("I9",),
        inject=_remembered_translation,
        scenario=_PLAIN,
        cause="stale-translation",
    ),
)
