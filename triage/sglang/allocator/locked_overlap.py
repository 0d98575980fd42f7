"""I17 at a unified tree's insert, by host work alone: what a lock keeps is not freed by it.

The failure: an insert revives a node whose SWA side was evicted, takes its own slots for it and
has the node's full slots freed, which a running request has locked and reads
(sgl-project/sglang#29352). The rule: of a node that is locked when the insert ends, the insert
has no full slots freed. The tree says what is to be freed in a list of actions, so nothing is
read of the device; each node that the insert passes costs two lengths.

On by default, logged once; raised with the family `lifecycle`, whose ledger sees every insert.
Not covered: releases before 0.5.18, whose trees free at once and do not say so; SWARadixCache,
which does the same in every release; 0.5.23, whose core is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.sglang.allocator.tree_locks import locks_of

CACHE = "sglang.srt.mem_cache.unified_radix_cache.UnifiedRadixCache"
OVERLAP = (
    "sglang.srt.mem_cache.unified_cache.components.swa_component.SWAComponent."
    "update_component_on_insert_overlap"
)
"""Of the SWA side of a unified tree whose inserts hand on a list of actions: 0.5.18."""


class LockedOverlap:
    """Stands around an insert and the nodes that it passes. `report` gets each finding."""

    def __init__(self, report: Callable[[Evidence], None]) -> None:
        self.report = report
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.passed = 0
        self._freed: list[tuple[Any, int]] | None = None

    def around_overlap(self, original: Any, component: Any, *args: Any, **kwargs: Any) -> Any:
        """A node that an insert passes; SGLang passes everything by keyword."""
        actions, freed = kwargs.get("cache_actions"), self._freed
        if freed is None or actions is None:
            return original(component, *args, **kwargs)
        before = len(actions)
        result = original(component, *args, **kwargs)
        self.passed += 1
        if len(actions) > before:
            node = kwargs.get("node")
            tokens = sum(map(_tokens_freed, actions[before:]))
            if node is not None and tokens:
                freed.append((node, tokens))
        return result

    def around_insert(self, original: Any, cache: Any, *args: Any, **kwargs: Any) -> Any:
        before, self._freed = self._freed, []
        try:
            result = original(cache, *args, **kwargs)
            for node, tokens in self._freed:
                if locks_of(node)[0] > 0:
                    self.report(_finding(locks_of(node)[0], tokens))
                    break
        finally:
            self._freed = before
        return result


def _tokens_freed(action: Any) -> int:
    """Full slots that an action frees."""
    if type(action).__name__ != "FreeDeviceKV":
        return 0
    return sum(len(slots) for slots in action.indices)


def _finding(locks: int, tokens: int) -> Evidence:
    return Evidence(
        "I17",
        f"an insert frees {tokens} full slots of a node that {locks} locks keep",
        "UnifiedRadixCache.insert",
        pool="full",
        total=1,
        facts={"locks": locks, "tokens": tokens},
        kind=Found.FREED_WHILE_LOCKED,
    )
