"""I17 where a prefix cache takes a request back: what its tree has, it does not free.

The failure: a chunk's pages went into the tree and the request's record of that did not move; when
the request is aborted, or inserted again, the cache frees its tokens from the old mark on, among
them pages of the tree (sgl-project/sglang#38319). The rule: a request's own tokens begin behind
`cache_protected_len`, so the node that it locks ends there or before.

Both are integers of the host: the lengths of the values on the node's path, or what the compiled
core of 0.5.23 says of it. Left out where a node of the path has no value on the device (HiCache),
and where others hold nodes beside the requests.

Source: `cache_finished_req`, `cache_unfinished_req`, which free `[cache_protected_len:...]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triage.evidence import Evidence
from triage.invariants.books import check_own_tokens
from triage.sglang.allocator.holdings import nobody_else_holds
from triage.sglang.allocator.tree import CACHES, CACHING, TREES, root_of, value_of
from triage.sglang.holders import kept_by, row_of

PLAIN_CACHE = "sglang.srt.mem_cache.radix_cache.RadixCache"
"""The tree of a pool of one kind, which has no SWA side."""


class PrefixOwned:
    """Stands around both ends of a request at a prefix cache. `report` gets each finding.

    compared: requests whose path was to be read.
    """

    def __init__(self, scheduler: Callable[[], Any], report: Callable[[Evidence], None]) -> None:
        self.scheduler = scheduler
        self.report = report
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.compared = 0
        self._first = True

    def first(self) -> bool:
        """True once."""
        told, self._first = self._first, False
        return told

    def around_caching(self, original: Any, cache: Any, req: Any, *args: Any, **kw: Any) -> Any:
        if type(cache).__name__ in TREES and nobody_else_holds(self.scheduler(), cache):
            ends = tokens_of_path(cache, req)
            if ends is not None:
                self.compared += 1
                own = kept_by(req, "cache_protected_len")
                where = f"{type(cache).__name__}.{getattr(original, '__name__', 'caching')}"
                found = check_own_tokens(row_of(req) or 0, own_from=own, tree_to=ends, where=where)
                if found is not None:
                    self.report(found)
        return original(cache, req, *args, **kw)


def caching_targets() -> list[str]:
    """Where each tree takes a request back, by dotted path; not every release has all."""
    return [f"{cache}.{name}" for cache in (*CACHES, PLAIN_CACHE) for name in CACHING]


def tokens_of_path(cache: Any, req: Any) -> int | None:
    """Tokens from the root to the node that `req` locks; None where it cannot be told."""
    if getattr(cache, "disable", False) or row_of(req) is None:
        return None
    node = getattr(req, "last_node", None)
    if hasattr(req, "lock"):  # from 0.5.23
        node = getattr(req.lock, "node", None)
    if node is None:
        return None
    if isinstance(node, int):  # a handle
        return _of_handle(cache, node)
    return _of_node(node, root_of(cache))


def _of_handle(cache: Any, handle: int) -> int | None:
    """By the core's own paths, or by the node where it gives that."""
    core = getattr(cache, "tree_core", None)
    paths, node_of = (getattr(core, name, None) for name in ("collect_path_info", "node_by_id"))
    try:
        if paths is not None:
            lengths = [node.full_value_len for node in paths([handle])[0]]
            return None if None in lengths else sum(map(int, lengths))
        return None if node_of is None else _of_node(node_of(handle), root_of(cache))
    except KeyError:
        return None


def _of_node(node: Any, root: Any) -> int | None:
    tokens = 0
    while node is not root:
        value = None if node is None else value_of(node)
        if value is None:
            return None
        tokens, node = tokens + len(value), node.parent
    return tokens
