"""Defects of the second author in SGLang's radix cache: shared prefixes, locks, retraction.

The lab's oracle of the books stands above what a tree frees. Here a plain walk
says when the state is first wrong: a page that the tree holds is in the free list,
or a running request's row names a page that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from triage.lab.bugs.bug import SGLANG, SMALL, Bug, Harmed, small
from triage.lab.patching import replaced


def _cache() -> Any:
    from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache

    return SWARadixCache


def _has_the_swa_tree() -> str:
    try:
        _cache()
    except ImportError:
        return "this release has no SWARadixCache"
    return ""


def _free_pages(cache: Any) -> set[int]:
    full = cache.token_to_kv_pool_allocator.full_attn_allocator
    parts = (full.free_pages, full.release_pages)
    return {int(page) for part in parts if part is not None for page in part.tolist()}


def _tree_holds_free_pages(cache: Any) -> bool:
    held: set[int] = set()
    nodes = list(cache.root_node.children.values())
    while nodes:
        node = nodes.pop()
        nodes.extend(node.children.values())
        if node.value is not None:
            held |= set((node.value // cache.page_size).tolist())
    return bool(held & _free_pages(cache))


def _prefix_length_lost(harmed: Harmed) -> AbstractContextManager[None]:
    """`insert` takes the prefix that the tree itself gave to the request for a duplicate."""

    def make(original: Any) -> Any:
        def insert(self: Any, params: Any) -> Any:
            inserted = original(self, replace(params, prev_prefix_len=0))
            if _tree_holds_free_pages(self):
                harmed()
            return inserted

        return insert

    return replaced(_cache(), "insert", make)


def _prefix_freed_at_retract(harmed: Harmed) -> AbstractContextManager[None]:
    """A release without insertion frees from the request's first token on."""

    def make(original: Any) -> Any:
        def cache_finished_req(self: Any, req: Any, *args: Any, **kwargs: Any) -> None:
            if not kwargs.get("is_insert", args[0] if args else True):
                req.cache_protected_len = 0
            original(self, req, *args, **kwargs)
            if _tree_holds_free_pages(self):
                harmed()

        return cache_finished_req

    return replaced(_cache(), "cache_finished_req", make)


def _row_keeps_the_duplicate(harmed: Harmed) -> AbstractContextManager[None]:
    """The pages of a duplicate prefix are freed, the request's row still names them."""

    def make(original: Any) -> Any:
        def cache_unfinished_req(self: Any, req: Any, *args: Any, **kwargs: Any) -> None:
            with mock.patch.object(self.req_to_token_pool, "write", lambda *_: None):
                original(self, req, *args, **kwargs)
            row = self.req_to_token_pool.req_to_token[req.req_pool_idx]
            named = row[: len(req.prefix_indices)] // self.page_size
            if set(named.tolist()) & _free_pages(self):
                harmed()

        return cache_unfinished_req

    return replaced(_cache(), "cache_unfinished_req", make)


@contextmanager
def _no_locks(harmed: Harmed) -> Iterator[None]:
    """Nodes that a running request reads are not locked, so the tree evicts them."""

    def unlocked(result: str) -> Any:
        from sglang.srt.mem_cache import base_prefix_cache

        made = getattr(base_prefix_cache, result)
        return lambda original: lambda self, *args, **kwargs: made()

    def watched(original: Any) -> Any:
        def evict(self: Any, params: Any) -> Any:
            before = _free_pages(self)
            evicted = original(self, params)
            rows = self.req_to_token_pool
            in_use = set(range(1, rows.size + 1)) - set(rows.free_slots)
            page = self.page_size
            named = {
                slot // page for row in in_use for slot in rows.req_to_token[row].tolist() if slot
            }
            if (_free_pages(self) - before) & named:
                harmed()
            return evicted

        return evict

    with ExitStack() as stack:
        stack.enter_context(replaced(_cache(), "inc_lock_ref", unlocked("IncLockRefResult")))
        stack.enter_context(replaced(_cache(), "dec_lock_ref", unlocked("DecLockRefResult")))
        stack.enter_context(replaced(_cache(), "evict", watched))
        yield


_TREE = small(draft="none", cache="swa-radix", requests=8, chunk=256)
_PRESSED = small(
    draft="none",
    cache="swa-radix",
    chunk=256,
    prompt_tokens=48,
    output_tokens=40,
    geometry=replace(SMALL.geometry, full_pages=16, swa_pages=16, num_layers=3, kv_shared_layers=0),
)
"""Three requests do not fit to their end: the tree evicts, the batch retracts."""

SECOND_AUTHOR_TREE = (
    Bug(
        "shared-prefix-freed-at-finish",
        "insert frees the prefix that the tree gave to the request as if it were a duplicate",
        "re-injected here: prev_prefix_len is not forwarded, its default is 0",
        ("I16", "I17", "I6", "I5"),
        inject=_prefix_length_lost,
        scenario=_TREE,
        applies=_has_the_swa_tree,
        cause="freed-page",
        also=("page-owned-twice", "double-free"),
    ),
    Bug(
        "shared-prefix-freed-at-retract",
        "a retracted request frees the shared prefix it was given, too",
        f"variant of {SGLANG}/pull/9989: a release without insertion starts at token 0",
        ("I16", "I17", "I6", "I5"),
        inject=_prefix_freed_at_retract,
        scenario=_PRESSED,
        applies=_has_the_swa_tree,
        cause="freed-page",
        also=("page-owned-twice", "double-free"),
    ),
    Bug(
        "row-keeps-the-duplicate",
        "a duplicate prefix is freed and the request goes on reading it",
        "https://github.com/sgl-project/mini-sglang/pull/142",
        ("I17", "I16", "I1", "I5"),
        inject=_row_keeps_the_duplicate,
        scenario=_TREE,
        applies=_has_the_swa_tree,
        cause="freed-page",
        also=("page-owned-twice",),
    ),
    Bug(
        "prefix-not-locked",
        "the tree evicts a prefix that a running request reads",
        "re-injected here: locks are not taken",
        ("I16", "I17", "I1"),
        inject=_no_locks,
        scenario=_PRESSED,
        applies=_has_the_swa_tree,
        cause="freed-page",
        also=("page-owned-twice", "lock-imbalance"),
    ),
)
