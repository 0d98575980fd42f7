"""I16 where a request gives its tokens to a prefix cache: what it has evicted is not live there.

The failure: the SWA side of a request's older tokens is gone, and the tree makes a live node of
them: a later match hands out slots that lead nowhere (sgl-project/sglang#22470, #29350). Or the
tree takes tokens that the match behind the insert refuses, so that they are the request's own
and the unlocked tree's at once (#34870). Or tokens are cached for which the request has no slots,
so that the tree takes what an earlier holder of the row left there (#24275). The rule: a node that
begins before the request's own frontier is a tombstone, no more is cached than is allocated, and
all that a running request has cached is matched for it.

Host integers of the request and of the insert: no slot is read. Looked at by default, and logged
then, once of each kind; raised where the family `tree` is asked for. Not covered: 0.5.23's
compiled tree makes its nodes out of sight, where the number that the insert brings is compared
alone; trees that keep a state besides (Mamba), whose matches are shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.sglang.allocator.frontier import frontier_of
from triage.sglang.holders import kept_by, row_of
from triage.sglang.reporter import Reporter

ADD_NODE = "sglang.srt.mem_cache.swa_radix_cache.SWARadixCache._add_new_node"
FINISHED, UNFINISHED = "cache_finished_req", "cache_unfinished_req"
CHECKPOINT = "checkpoint"
"""From 0.5.23 on one call for both: what is cached is protected there, whoever ends."""


@dataclass(slots=True)
class _Given:
    """What a request gives to a tree now. inserted: tokens of the last insert."""

    request: Any
    inserted: int = 0


class CachedWindow:
    """Stands around a tree's caching of a request, its insert, and the nodes that are made."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self._now: _Given | None = None
        self._said: set[str] = set()

    def around_finished(self, original: Any, cache: Any, *args: Any, **kwargs: Any) -> Any:
        before, self._now = self._now, _Given(args[0] if args else kwargs.get("req"))
        try:
            return original(cache, *args, **kwargs)
        finally:
            self._now = before

    def around_unfinished(self, original: Any, cache: Any, *args: Any, **kwargs: Any) -> Any:
        before, given = self._now, _Given(args[0] if args else kwargs.get("req"))
        self._now = given
        try:
            result = original(cache, *args, **kwargs)
        finally:
            self._now = before
        self._matched(cache, given)
        return result

    def around_insert(self, original: Any, cache: Any, *args: Any, **kwargs: Any) -> Any:
        """The number that a unified tree makes its tombstones by."""
        given = self._now
        params: Any = args[0] if args else next(iter(kwargs.values()), None)
        if given is not None and getattr(params, "key", None) is not None:
            given.inserted = len(params.key)
            self._allocated(given)
            if hasattr(cache, "tree_components") or hasattr(cache, "tree_core"):
                evicted = frontier_of(given.request)
                said = max(_said(params), int(getattr(params, "prev_prefix_len", 0) or 0))
                if said < min(evicted, given.inserted):
                    self._live_but_evicted(given.request, said, evicted, "insert")
        result = original(cache, *args, **kwargs)
        if given is not None and getattr(result, "rotation_tail_declined", False):
            given.inserted = 0  # 0.5.23 with its KV sharded: the request keeps all of it
        return result

    def around_add_node(
        self, original: Any, cache: Any, parent: Any, key: Any, value: Any, *args: Any, **more: Any
    ) -> Any:
        """A node of SWARadixCache, before it is made."""
        tombstone = args[0] if args else more.get("swa_tombstone", False)
        if self._now is not None and not tombstone:
            evicted = frontier_of(self._now.request)
            if evicted:
                start, above = 0, parent
                while above is not None and above is not cache.root_node:
                    start, above = start + len(above.key), above.parent
                if start < evicted:
                    self._live_but_evicted(self._now.request, start, evicted, "_add_new_node")
        return original(cache, parent, key, value, *args, **more)

    def _allocated(self, given: _Given) -> None:
        """What is cached of a request's row is what was allocated for it, or less."""
        has = kept_by(given.request, "kv_allocated_len")
        if not has or given.inserted <= has:
            return
        row = row_of(given.request) or 0
        self._tell(
            Found.CACHED_NOT_ALLOCATED,
            f"request {row} gives {given.inserted} tokens to the tree, and {has} are allocated for "
            f"it: the other {given.inserted - has} that its row names are another's or nobody's",
            "insert",
            {"request": row, "inserted": given.inserted, "allocated": has},
        )

    def _matched(self, cache: Any, given: _Given) -> None:
        """What a running request has cached is protected for it, all of it."""
        mamba = getattr(cache, "supports_mamba", None)
        if not given.inserted or (callable(mamba) and mamba()):
            return
        got, page = kept_by(given.request, "cache_protected_len"), int(cache.page_size)
        if given.inserted - got < max(page, 2):  # a key of bigrams is one shorter
            return
        row = row_of(given.request) or 0
        self._tell(
            Found.INSERTED_NOT_MATCHED,
            f"request {row} gave {given.inserted} tokens to the tree, and {got} of them are "
            f"protected for it: the other {given.inserted - got} are its own and the unlocked "
            "tree's at once",
            "cache_unfinished_req",
            {"request": row, "inserted": given.inserted, "protected": got},
        )

    def _live_but_evicted(self, request: Any, start: int, evicted: int, where: str) -> None:
        row = row_of(request) or 0
        self._tell(
            Found.LIVE_NODE_EVICTED,
            f"the tree takes tokens from {start} on of request {row} for live, and their SWA side "
            f"is evicted up to token {evicted}",
            where,
            {"request": row, "start": start, "frontier": evicted},
        )

    def _tell(self, kind: Found, text: str, where: str, facts: dict[str, object]) -> None:
        seen = Evidence("I16", text, where, pool="swa", total=1, facts=facts, kind=kind)
        if self.reporter.whole("I16"):
            self.reporter.fire_event(seen)
        elif kind not in self._said:
            self._said.add(kind)
            self.reporter.log_event(seen)


def _said(params: Any) -> int:
    """How far the SWA side is gone, as the insert is told."""
    windows = getattr(params, "component_evicted_seqlens", None)
    if windows is None:
        return int(getattr(params, "swa_evicted_seqlen", 0) or 0)
    return max((int(tokens) for kind, tokens in windows.items() if kind.name == "SWA"), default=0)
