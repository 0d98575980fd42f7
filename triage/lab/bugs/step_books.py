"""Defects that no single call shows: pages nobody holds, locks nobody gives back, rows that spill.

Each is a kind, put into SGLang's own classes where the kind lives: what a release gives back,
what an eviction takes, what a lock covers, how wide a row is. The unified cache and the older
SWA tree both have the methods that are changed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import torch

from triage.lab.bugs.bug import SGLANG, SMALL, Bug, Harmed, small
from triage.lab.bugs.released import AT_THE_WALL
from triage.lab.patching import replaced
from triage.lab.runtime import Runtime

_LONGEST = 144


def _unified() -> Any:
    from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

    return UnifiedRadixCache


def _swa_radix() -> Any:
    from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache

    return SWARadixCache


def _has_swa_radix() -> str:
    try:
        _swa_radix()
    except ImportError:
        return "this release has no SWARadixCache"
    return ""


def _has_python_tree() -> str:
    readable = hasattr(_unified(), "cache_unfinished_req")
    return "" if readable else "the tree lives in a compiled core: its nodes are out of reach"


def _shows_locks() -> str:
    """0.5.23's compiled core shows no node, but the paths of those that requests hold."""
    if not _has_python_tree():
        return ""
    from sglang.srt.mem_cache.unified_cache.unified_tree_core_interface import (
        UnifiedTreeCoreInterface,
    )

    shown = hasattr(UnifiedTreeCoreInterface, "collect_path_info")
    return "" if shown else _has_python_tree()


@contextmanager
def _last_page_not_freed(harmed: Harmed) -> Iterator[None]:
    """A finished request's last page is left out of what is freed: its row is cut too short."""

    def make(original: Any) -> Any:
        def release(self: Any, *args: Any, **kwargs: Any) -> Any:
            allocator = self.token_to_kv_pool_allocator
            with ExitStack() as stack:
                for name in ("free", "free_segment"):
                    if hasattr(allocator, name):
                        shorter = _without_last_page(getattr(allocator, name), allocator, harmed)
                        stack.enter_context(mock.patch.object(allocator, name, shorter))
                return original(self, *args, **kwargs)

        return release

    with ExitStack() as stack:
        for name in ("cache_finished_req", "free_kv_row"):  # the second from 0.5.23
            if hasattr(_unified(), name):
                stack.enter_context(_in_every_cache(name, make))
        yield


def _without_last_page(free: Any, allocator: Any, harmed: Harmed) -> Any:
    def shorter(free_index: Any, *args: Any, **kwargs: Any) -> Any:
        page = int(allocator.page_size)
        if len(free_index) and int(free_index[-1]) % page < page - 1:  # ends inside a page
            harmed()
            free_index = free_index[free_index // page != free_index[-1] // page]
        return free(free_index, *args, **kwargs)

    return shorter


def _lock_left(harmed: Harmed) -> AbstractContextManager[None]:
    """Every third lock is not given back."""
    count = [0]

    def make(original: Any) -> Any:
        def dec_lock_ref(self: Any, node: Any, *args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] % 3 or _is_root(self, node):
                return original(self, node, *args, **kwargs)
            harmed()
            from sglang.srt.mem_cache.base_prefix_cache import DecLockRefResult

            return DecLockRefResult()

        return dec_lock_ref

    return _in_every_cache("dec_lock_ref", make)


def _swa_lock_too_short(harmed: Harmed) -> AbstractContextManager[None]:
    """A lock leaves out the SWA side of the request's last node, and the receipt has it."""

    def make(original: Any) -> Any:
        def inc_lock_ref(self: Any, node: Any, *args: Any, **kwargs: Any) -> Any:
            receipt = original(self, node, *args, **kwargs)
            if node is not self.root_node and node.swa_lock_ref > 0:
                node.swa_lock_ref -= 1
                harmed()
            return receipt

        return inc_lock_ref

    return replaced(_swa_radix(), "inc_lock_ref", make)


@contextmanager
def _evicts_the_locked(harmed: Harmed) -> Iterator[None]:
    """Eviction frees a page of a node that a running request has locked."""

    def make(original: Any) -> Any:
        def evict(self: Any, *args: Any, **kwargs: Any) -> Any:
            locked = _locked_page(self)
            if locked is not None:
                harmed()
                self.token_to_kv_pool_allocator.full_attn_allocator.free(locked)
            return original(self, *args, **kwargs)

        return evict

    with _in_every_cache("evict", make):
        yield


def _locked_page(cache: Any) -> torch.Tensor | None:
    """The first page of a node with a full lock."""
    from triage.sglang.allocator.tree import root_of, value_of, walk
    from triage.sglang.allocator.tree_locks import locks_of

    root = root_of(cache)
    for node in () if root is None else walk(root):
        value = value_of(node)
        if node is not root and locks_of(node)[0] > 0 and value is not None and len(value):
            return value[: cache.page_size]
    return None


def _is_root(cache: Any, node: Any) -> bool:
    """By handle where the cache gives one, which a compiled core needs."""
    handle = getattr(cache, "root_node_handle", None)
    if handle is not None and node == handle():
        return True
    return not isinstance(node, int) and node is cache.root_node


@contextmanager
def _in_every_cache(name: str, make: Any) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(replaced(_unified(), name, make))
        if not _has_swa_radix():
            stack.enter_context(replaced(_swa_radix(), name, make))
        yield


@contextmanager
def _row_spills(harmed: Harmed) -> Iterator[None]:
    """The request table is as wide as a request gets; a write goes on in the next row."""
    from sglang.srt.mem_cache.memory_pool import ReqToTokenPool

    pools = Runtime._pools

    def narrow(self: Runtime) -> None:
        pools(self)
        table = self.req_to_token_pool
        table.req_to_token = table.req_to_token[:, :_LONGEST].contiguous()

    def make(original: Any) -> Any:
        def write(self: Any, indices: Any, values: Any) -> Any:
            row, span = indices
            width = self.req_to_token.shape[1]
            if not isinstance(span, slice) or span.stop <= width:
                return original(self, indices, values)
            harmed()
            flat = self.req_to_token.view(-1)  # as a kernel: row * stride + position
            at = row * width + torch.arange(span.start, span.stop)
            flat[at[at < len(flat)]] = values[at < len(flat)].to(flat.dtype)
            return None

        return write

    with (
        mock.patch.object(Runtime, "_pools", narrow),
        replaced(ReqToTokenPool, "write", make),
    ):
        yield


_TREE = small(draft="none", cache="unified", requests=8, chunk=256)
_OLDER_TREE = replace(_TREE, cache="swa-radix")
_PRESSED = small(
    draft="none",
    cache="unified",
    chunk=256,
    prompt_tokens=48,
    output_tokens=40,
    geometry=replace(SMALL.geometry, full_pages=16, swa_pages=16, num_layers=3, kv_shared_layers=0),
)
_BY_TOKEN = replace(
    AT_THE_WALL.geometry,
    context_len=2 * _LONGEST,
    page_size=1,
    swa_pages=16 * AT_THE_WALL.geometry.swa_pages,
    full_pages=16 * AT_THE_WALL.geometry.full_pages,
)

STEP_BOOKS = (
    Bug(
        "last-page-left-behind",
        "a finished request's last page is not freed, under a prefix cache",
        f"variant of {SGLANG}/pull/33581: what a release gives back is cut too short",
        ("I7",),
        inject=_last_page_not_freed,
        scenario=_TREE,
        cause="leak",
    ),
    Bug(
        "last-page-left-behind-older-tree",
        "the same in SWARadixCache, a step queued before the last is judged",
        f"variant of {SGLANG}/pull/33581",
        ("I7",),
        inject=_last_page_not_freed,
        scenario=replace(_OLDER_TREE, queued=True),
        applies=_has_swa_radix,
        cause="leak",
    ),
    Bug(
        "lock-not-given-back",
        "a lock outlives its request: the node is never evicted",
        f"variant of {SGLANG}/pull/18694: a path that ends a request without its dec_lock_ref",
        ("I16",),
        inject=_lock_left,
        scenario=_TREE,
        applies=_shows_locks,
        cause="lock-imbalance",
    ),
    Bug(
        "swa-lock-too-short",
        "a request reads a node whose SWA side it has not locked",
        "re-injected here: the SWA lock begins one node too high",
        ("I16",),
        inject=_swa_lock_too_short,
        scenario=_OLDER_TREE,
        applies=_has_swa_radix,
        cause="lock-imbalance",
    ),
    Bug(
        "evicted-though-locked",
        "eviction frees a page of a node that a running request reads",
        f"variant of {SGLANG}/pull/29352: a lock that is not looked at",
        ("I17",),
        inject=_evicts_the_locked,
        scenario=_PRESSED,
        applies=_has_python_tree,
        cause="freed-page",
    ),
    Bug(
        "row-spills-into-its-neighbour",
        "pages of one token: what a row has no column for lands in the next row",
        f"variant of {SGLANG}/pull/33581, without a draft's reserve",
        ("I14",),
        inject=_row_spills,
        scenario=small(
            geometry=_BY_TOKEN,
            prompt_tokens=112,
            output_tokens=40,
            requests=4,
            chunk=64,
            draft="eagle",
            backend="triton",
        ),
        cause="request-table-too-small",
    ),
)
