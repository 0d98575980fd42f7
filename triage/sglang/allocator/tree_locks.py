"""The locks of a radix tree, and how many requests hold each node: host integers only.

The failure: a path that ends a request gives its lock back twice, or never. The rule: what
`inc_lock_ref` took is written on the request as a receipt, so who holds a node can be counted
by following every receipt up the tree, as `dec_lock_ref` would.

Trees of one pool (`lock_ref`), of two (`full_lock_ref`, `swa_lock_ref`) and of components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from triage.sglang.allocator.tree import kinds_of, root_of, walk


@dataclass(slots=True)
class Locks:
    """Lock counts of a tree and how many requests hold each node; host tensors, by node.

    parent: index of the parent, -1 for the root. swa_exact: does the SWA side lock every node
    of a request's path? A unified tree passes over tombstones.
    """

    nodes: list[Any]
    parent: Tensor
    full: Tensor
    swa: Tensor
    full_held: Tensor
    swa_held: Tensor
    swa_exact: bool
    number: dict[int, int]
    by_handle: dict[Any, Any]
    outside: list[Any]

    def hold(self, request: Any) -> bool:
        """Count the lock of `request`; False if its node is not known here.

        A node of this tree's kind that is not in it goes to `outside`: it was removed, and a
        lock forbids that.

        Source: `inc_lock_ref`, whose receipt lies on the request: `swa_uuid_for_lock` and
        `swa_prefix_lock_released`, from 0.5.23 `lock`, a TreeLock.
        """
        lock = getattr(request, "lock", None)
        handle = getattr(lock, "node", None) if hasattr(request, "lock") else request.last_node
        if handle is None:
            return lock is None
        node = self.by_handle.get(handle) if isinstance(handle, int) else handle
        if node is None or id(node) not in self.number:
            if type(node) is type(self.nodes[0]):
                self.outside.append(request)
            return False
        uuid, released = _receipt(request, lock)
        at = self.number[id(node)]
        below_window = not released
        while self.parent[at] >= 0:
            self.full_held[at] += 1
            if below_window:
                self.swa_held[at] += 1
                below_window = uuid is None or _uuid(self.nodes[at]) != uuid
            at = int(self.parent[at])
        return True


def locks_of_tree(cache: Any) -> Locks | None:
    """The lock counts under `cache`, no holder counted yet; None where they are out of reach."""
    root = root_of(cache)
    if root is None:
        return None
    nodes = list(walk(root))
    number = {id(node): index for index, node in enumerate(nodes)}
    counts = torch.tensor([locks_of(node) for node in nodes], dtype=torch.int64)
    nothing = torch.zeros(len(nodes), dtype=torch.int64)
    return Locks(
        nodes,
        torch.tensor([number.get(id(node.parent), -1) for node in nodes]),
        counts[:, 0],
        counts[:, 1],
        nothing,
        nothing.clone(),
        swa_exact=type(cache).__name__ == "SWARadixCache",
        number=number,
        by_handle={node.id: node for node in nodes},
        outside=[],
    )


def _receipt(request: Any, lock: Any) -> tuple[Any, bool]:
    """(boundary of the SWA lock, None up to the root; was the SWA lock released early?)"""
    if lock is not None:
        boundaries = lock.receipt.component_lock_uuids
        known = {kind.name: uuid for kind, uuid in boundaries.items()}
        return known.get("SWA"), bool(lock.swa_released)
    released = bool(getattr(request, "swa_prefix_lock_released", False))
    return getattr(request, "swa_uuid_for_lock", None), released


def _uuid(node: Any) -> Any:
    components = getattr(node, "component_data", None)
    if components is None:
        return getattr(node, "swa_uuid", None)
    swa = next((components[kind] for kind in kinds_of(node) if kind.name == "SWA"), None)
    return None if swa is None else swa.metadata.get("uuid")


def locks_of(node: Any) -> tuple[int, int]:
    """(full lock, SWA lock); a tree of one pool has the first alone."""
    components = getattr(node, "component_data", None)
    if components is not None:
        kinds = {kind.name: components[kind] for kind in kinds_of(node)}
        swa = kinds.get("SWA")
        return int(kinds["FULL"].lock_ref), 0 if swa is None else int(swa.lock_ref)
    if hasattr(node, "full_lock_ref"):
        return int(node.full_lock_ref), int(node.swa_lock_ref)
    return int(node.lock_ref), 0
