"""I15: how far SGLang has evicted the sliding window, and whether a query still needs it.

The failure: the SWA side of a token goes while a query can still see it; the table then
holds the dummy page there. Seen twice: at the eviction, from the request's own numbers,
and at the metadata of a forward, where every token of the window must have a slot.

The other way round SWA slots that a request was just given count as evicted: it never evicts
them, and a tree that gets them takes them for gone. Seen at the end of a prefill's
preparation: what it allocates begins at the prefix, so no frontier lies past that.

The frontier's place changed: `Req.swa_evicted_seqlen`, then the same on the KV record, then
one per component there.
Not covered: auxiliary windows of 0.5.23, which keep cursors of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import compress
from operator import attrgetter, gt
from typing import Any

import torch

from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.invariants.lifecycle import check_frontier
from triage.sglang.holders import kept_by, row_of
from triage.sglang.reporter import Reporter

COMMON = "sglang.srt.mem_cache.common.free_swa_out_of_window_slots"
BATCH = "sglang.srt.managers.schedule_batch.ScheduleBatch._evict_swa"
RETRACT = "sglang.srt.managers.schedule_batch.Req.reset_for_retract"
EXTEND = "sglang.srt.managers.schedule_batch.ScheduleBatch.prepare_for_extend"

_NAME = "swa_evicted_seqlen"
_ON_REQUEST, _ON_RECORD = attrgetter(_NAME), attrgetter(f"kv.{_NAME}")
_NUMBERS = {"sliding_window_size", "page_size"}


class Frontier:
    """Stands around SGLang's eviction from the window and its retraction."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def around_function(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        """0.5.14 on; its callers in SGLang took it by name before this hook was bound."""
        if len(args) == 2 and kwargs.keys() >= _NUMBERS:  # as every release read calls it
            given = {**kwargs, "req": args[0], "pre_len": args[1]}
        else:
            given = inspect.signature(original).bind(*args, **kwargs).arguments
        if getattr(given.get("component_type"), "name", "SWA") != "SWA":
            return original(*args, **kwargs)
        return self._evict(
            lambda: original(*args, **kwargs),
            given["req"],
            int(given["pre_len"]),
            int(given["sliding_window_size"]),
            int(given["page_size"]),
        )

    def around_method(
        self, original: Any, batch: Any, req: Any, pre_len: int, *args: Any, **kwargs: Any
    ) -> Any:
        cache = batch.tree_cache
        window = getattr(cache, "sliding_window_size", None)

        def call() -> Any:
            return original(batch, req, pre_len, *args, **kwargs)

        if window is None:
            return call()
        return self._evict(call, req, int(pre_len), int(window), int(cache.page_size))

    def _evict(self, call: Any, req: Any, pre_len: int, window: int, page: int) -> Any:
        before = frontier_of(req)
        result = call()
        after = frontier_of(req)
        if after <= before:
            return result
        protected = max(
            before, kept_by(req, "cache_protected_len"), kept_by(req, "swa_evict_floor")
        )
        protected = -(-protected // page) * page
        oldest = min(pre_len, known_tokens(req, pre_len))
        if 0 <= after <= max(oldest - window, protected, 0) and after % page == 0:
            return result
        numbers = (after, max(oldest, protected), max(oldest, protected), oldest, protected)
        evicted, committed, allocated, query, shielded = (torch.tensor([n]) for n in numbers)
        self.reporter.fire_findings(
            check_frontier(
                evicted,
                committed,
                allocated,
                query,
                window_left=window,
                page_size=page,
                protected=shielded,
            ),
            "I15",
            f"the window was evicted up to token {after}, the next query at {oldest} sees "
            f"{window} tokens before it",
            "swa",
            "eviction from the window",
        )
        return result

    def around_extend(self, original: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """What a prefill allocates is not evicted yet. Host integers, one look a request."""
        result = original(batch, *args, **kwargs)
        prefixes = batch.prefix_lens or ()
        ahead = map(gt, frontiers_of(batch.reqs), prefixes)
        for req, prefix in compress(zip(batch.reqs, prefixes, strict=False), ahead):
            frontier = frontier_of(req)
            page = max(int(getattr(batch.tree_cache, "page_size", 1) or 1), 1)
            shielded = max(
                int(prefix), kept_by(req, "cache_protected_len"), kept_by(req, "swa_evict_floor")
            )
            if frontier > -(-shielded // page) * page:
                self._past_prefix(req, frontier, int(prefix))
        return result

    def _past_prefix(self, req: Any, frontier: int, prefix: int) -> None:
        row, retractions = row_of(req) or 0, kept_by(req, "retraction_count")
        text = (
            f"request {row} is given SWA slots from token {prefix} on, and swa_evicted_seqlen "
            f"says that they are evicted up to token {frontier}"
        )
        if retractions:
            text += f"; it was retracted {retractions} times"
        self.reporter.fire_event(
            Evidence(
                "I15",
                text,
                "ScheduleBatch.prepare_for_extend",
                pool="swa",
                total=1,
                rows_affected=1,
                facts={
                    "request": row,
                    "frontier": frontier,
                    "prefix": prefix,
                    "retractions": retractions,
                },
                kind=Found.FRONTIER_PAST_PREFIX,
            )
        )

    def around_retract(self, original: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(req, *args, **kwargs)
        left = frontier_of(req)
        if left:
            self.reporter.fire_event(
                Evidence(
                    "I15",
                    f"a retracted request keeps its eviction frontier at token {left}, 0 was "
                    "expected",
                    "Req.reset_for_retract",
                    pool="swa",
                    total=1,
                    facts={"frontier": left},
                    kind=Found.FRONTIER_NOT_RESET,
                )
            )
        return result


def frontiers_of(reqs: Sequence[Any]) -> list[int]:
    """`frontier_of` each, of requests of one class: a tenth of a microsecond a request."""
    record = getattr(reqs[0], "kv", None) if reqs else None
    try:
        if hasattr(record, "component_evicted_seqlens"):
            windows = [req.kv.component_evicted_seqlens for req in reqs]
            kinds = {kind for kind in set().union(*windows) if kind.name == "SWA"}
            return [sum(each.get(kind, 0) for kind in kinds) for each in windows]
        return list(map(_ON_RECORD if hasattr(record, _NAME) else _ON_REQUEST, reqs))
    except AttributeError:  # one without a record
        return [frontier_of(req) for req in reqs]


def frontier_of(req: Any) -> int:
    """Tokens of `req` whose SWA side was evicted; 0 where it holds none."""
    windows = getattr(getattr(req, "kv", None), "component_evicted_seqlens", None)
    if windows is None:
        return kept_by(req, _NAME)
    return sum(int(tokens) for kind, tokens in windows.items() if kind.name == "SWA")


def known_tokens(req: Any, otherwise: int) -> int:
    """The position of the oldest query to come, by the request's own numbers."""
    seqlen = getattr(req, "seqlen", None)
    if seqlen is None:
        return otherwise
    return max(int(seqlen) - 1, kept_by(req, "kv_committed_len"))
