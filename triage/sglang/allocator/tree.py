"""The radix trees of SGLang as arrays, and the checks on them (I16).

Two classes with the same promise: SWARadixCache (up to 0.5.18), whose nodes
carry one value and a tombstone mark, and UnifiedRadixCache, whose nodes carry
one record per component. The tree is flattened and judged after the operations
that reshape it; opt-in, since it walks the whole tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from triage.device import capture
from triage.evidence import Evidence
from triage.invariants.findings import Findings
from triage.invariants.tree import check_locks, check_nodes
from triage.sglang.allocator.ledger_hooks import grouping
from triage.sglang.binding.shell import attempt
from triage.sglang.reporter import Reporter

CACHES = (
    "sglang.srt.mem_cache.swa_radix_cache.SWARadixCache",
    "sglang.srt.mem_cache.unified_radix_cache.UnifiedRadixCache",
)
TREES = ("SWARadixCache", "UnifiedRadixCache", "RadixCache")
"""Classes whose nodes are read here, those very ones: a subclass may keep more elsewhere."""

DISAGREE = "a tree node and the mapping disagree"
CACHING = ("cache_finished_req", "cache_unfinished_req", "checkpoint")  # the last from 0.5.23
OPERATIONS = ("match_prefix", *CACHING, "evict")


@dataclass(frozen=True, slots=True)
class Flat:
    """All nodes but the root's value: slots of each, parents, marks and locks.

    Slots, their nodes and the marks are where the slots are; parents and locks on the host.
    """

    slots: Tensor
    node_of_slot: Tensor
    tombstone: Tensor
    parent: Tensor
    full_lock: Tensor
    swa_lock: Tensor


class TreeTrap:
    """Checks a tree after each of OPERATIONS; tells the ledger that trees hold pages."""

    def __init__(self, reporter: Reporter, books: Any, every: int = 1) -> None:
        self.reporter = reporter
        self.books = books
        self.every = every
        self._operations = 0

    def around(self, original: Any, cache: Any, *args: Any, **kwargs: Any) -> Any:
        self.books.tree_seen()
        if capture.capturing():
            self.books.forget()
            return original(cache, *args, **kwargs)
        caching = original.__name__ in CACHING
        acts_for = (args[0] if args else kwargs.get("req")) if caching else None
        with self.books.tree_acts(acts_for):
            result = original(cache, *args, **kwargs)
        self._operations += 1
        if self._operations % self.every:
            return result
        allocator = cache.token_to_kv_pool_allocator
        mapping = getattr(allocator, "full_to_swa_index_mapping", None)
        if self.reporter.whole("I16") and mapping is not None and not grouping(allocator):
            self._check(cache, mapping, original.__name__)
        return result

    def _check(self, cache: Any, mapping: Tensor, where: str) -> None:
        flat = flatten(cache)
        if flat is None:
            return
        if len(flat.slots):
            found = check_nodes(flat.slots, flat.node_of_slot, flat.tombstone, mapping)
            if "I16" in self.reporter.enabled and found.total:
                bare = Evidence("I16", DISAGREE, where, pool="swa", total=found.total)
                described = partial(self.evidence, cache, flat, found, where)
                self.reporter.fire_event(attempt("describing a node", described, bare))
        locks = check_locks(flat.parent, flat.full_lock, flat.swa_lock)
        self.reporter.fire_findings(locks, "I16", "locks of the tree do not add up", "", where)

    def evidence(self, cache: Any, flat: Flat, found: Findings, where: str) -> Evidence:
        """A node whose full pages the ledger calls free was freed under the tree."""
        violations = found.violations()
        summary = DISAGREE
        page = int(cache.token_to_kv_pool_allocator.page_size)
        held = [int(flat.slots[each.row]) // page for each in violations[:8]]
        facts: dict[str, object] = {"full pages": list(dict.fromkeys(held))}
        kind = ""
        ledger = self.books.of(cache.token_to_kv_pool_allocator.full_attn_allocator).ledger
        slots = [int(flat.slots[each.row]) for each in violations if "live" in each.tensor]
        used = ledger.check_use(slots, where=where)
        if used:
            summary = f"a live tree node, and {used[-1].summary}"
            facts, kind = facts | used[-1].facts, used[-1].kind
        return Evidence(
            "I16",
            summary,
            where,
            pool="swa",
            total=found.total,
            rows_affected=found.rows_affected,
            violations=violations,
            facts=facts,
            kind=kind,
        )


def flatten(cache: Any) -> Flat | None:
    """The tree under `cache`; None where its root is out of reach (the compiled core)."""
    root = root_of(cache)
    if root is None:
        return None
    nodes = list(walk(root))
    number = {id(node): index for index, node in enumerate(nodes)}
    slots, owners, marks, locks = [], [], [], []
    for index, node in enumerate(nodes):
        value, tombstone, full_lock, swa_lock = _node(node)
        marks.append(tombstone)
        locks.append((full_lock, swa_lock))
        if value is not None and node is not root and len(value):
            slots.append(value.to(torch.int64))
            owners.append(torch.full((len(value),), index, dtype=torch.int64))
    lock = torch.tensor(locks, dtype=torch.int64)
    empty = torch.zeros(0, dtype=torch.int64)
    device = slots[0].device if slots else empty.device
    return Flat(
        slots=torch.cat(slots) if slots else empty,
        node_of_slot=torch.cat(owners).to(device) if slots else empty,
        tombstone=torch.tensor(marks).to(device),
        parent=torch.tensor([number.get(id(node.parent), -1) for node in nodes]),
        full_lock=lock[:, 0],
        swa_lock=lock[:, 1],
    )


def root_of(cache: Any) -> Any:
    """The root of the tree under `cache`; None where it is out of reach."""
    try:
        root = getattr(cache, "root_node", None)
        return root if root is not None else getattr(cache.tree_core, "root_node", None)
    except (NotImplementedError, AttributeError):  # 0.5.23's Rust core; a cache without a tree
        return None


def tree_slots(cache: Any) -> Tensor | None:
    """Full slots of all nodes, on the device; None where the tree is out of reach.

    A tree that is switched off holds none; 0.5.23's Rust core lists its own.
    """
    if getattr(cache, "disable", False):
        return torch.zeros(0, dtype=torch.int64)
    root = root_of(cache)
    if root is None:
        listed = getattr(cache, "all_values_flatten", None)
        return None if listed is None else listed().to(torch.int64)
    values = [value_of(node) for node in walk(root) if node is not root]
    found = [value.to(torch.int64) for value in values if value is not None and len(value)]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)


def value_of(node: Any) -> Tensor | None:
    """Full slots of a node of any of TREES; None where they are evicted."""
    components = getattr(node, "component_data", None)
    if components is not None:
        value = next(components[kind].value for kind in kinds_of(node) if kind.name == "FULL")
    else:
        value = node.value
    return value if isinstance(value, Tensor) else None


def walk(root: Any) -> Iterator[Any]:
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        pending += list(node.children.values())


def _node(node: Any) -> tuple[Tensor | None, bool, int, int]:
    """(full slots on the device, SWA side gone, full lock, SWA lock)."""
    components = getattr(node, "component_data", None)
    if components is None:
        value = node.value if isinstance(node.value, Tensor) else None
        return value, bool(node.swa_tombstone), int(node.full_lock_ref), int(node.swa_lock_ref)
    kinds = {kind.name: components[kind] for kind in kinds_of(node)}
    full, swa = kinds["FULL"], kinds.get("SWA")
    gone = swa is None or swa.value is None
    return full.value, gone, int(full.lock_ref), 0 if swa is None else int(swa.lock_ref)


def kinds_of(node: Any) -> Any:
    return getattr(node, "component_types", None) or node.tree_components
