"""I16: the radix tree over the hybrid pools, as arrays.

The failure: a node counts as live although its SWA pages are gone, a match
hands out a prefix whose last window was evicted, or a lock taken is not given
back. The rule: tombstones and mapping say the same, and locks add up along
every path. The caller flattens the tree; nothing here knows its classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found


def check_nodes(
    slots: Tensor, node_of_slot: Tensor, tombstone: Tensor, mapping: Tensor
) -> Findings:
    """I16: a live node's slots have SWA peers, a tombstone's have none.

    Args:
        slots: `(n,)`, integer, full slots of all nodes one after the other.
        node_of_slot: `(n,)`, int64, the node of each, an index into `tombstone`.
        tombstone: `(nodes,)`, bool.
        mapping: `(slots,)`, `full_to_swa_index_mapping`; not empty.
    Returns: two I16 faults, row = position in `slots`.
    Cost: 23 launches over the cached slots; no sync until `read()`.
    """
    values = slots.to(torch.int64)
    legal = (values > 0) & (values < len(mapping) - 1)
    entry = mapping[values.clamp(0, len(mapping) - 1)].to(torch.int64)
    gone = tombstone[node_of_slot]
    missing = ~gone & (~legal | (entry <= 0))
    left = gone & legal & (entry != 0)
    return Findings(
        [
            Fault("I16", "live node", missing, entry, 1, 2**31, kind=Found.LIVE_NODE_NOT_MAPPED),
            Fault("I16", "tombstone", left, entry, 0, 1, kind=Found.TOMBSTONE_MAPPED),
        ]
    )


def check_locks(
    parent: Tensor, full_lock: Tensor, swa_lock: Tensor, holders: Tensor | None = None
) -> Findings:
    """I16: lock counts are never negative, never above the parent's, SWA never above full.

    A lock on a node locks the full side of every ancestor but the root, so a
    parent holds at least the sum of its children's full locks; what it holds
    beyond that are the requests that end there.

    Args:
        parent: `(nodes,)`, int64, the parent's index; -1 for the root, whose own
            counts are fixed and not judged.
        full_lock, swa_lock: `(nodes,)`, integer.
        holders: `(nodes,)`, integer, requests whose last node is this one. With it a
            node must hold exactly the sum of its children and these.
    Returns: I16 faults, row = node.
    Cost: 30 small launches; no sync until `read()`.
    """
    full, swa = full_lock.to(torch.int64), swa_lock.to(torch.int64)
    root = parent < 0
    at = torch.where(root, len(parent), parent)
    children = torch.zeros(len(parent) + 1, dtype=torch.int64, device=full.device)
    children.index_add_(0, at, full)
    below = children[: len(parent)]
    negative = ~root & ((full < 0) | (swa < 0))
    inverted = ~root & (swa > full)
    if holders is None:
        broken = ~root & (full < below)
        wanted = None
    else:
        wanted = below + holders.to(torch.int64)
        broken = ~root & (full != wanted)
    return Findings(
        [
            Fault(
                "I16",
                "lock_ref (negative)",
                negative,
                torch.minimum(full, swa),
                0,
                2**31,
                kind=Found.LOCK_NEGATIVE,
            ),
            Fault(
                "I16",
                "swa_lock_ref",
                inverted,
                swa,
                0,
                full + 1,
                kind=Found.LOCK_SWA_ABOVE_FULL,
            ),
            Fault(
                "I16",
                "full_lock_ref",
                broken,
                full,
                below,
                2**31,
                expected=wanted,
                kind=Found.LOCK_BELOW_CHILDREN,
            ),
        ]
    )


def check_lock_holders(
    parent: Tensor,
    full_lock: Tensor,
    swa_lock: Tensor,
    *,
    full_held: Tensor,
    swa_held: Tensor,
    complete: bool,
    swa_exact: bool,
) -> Findings:
    """I16: what a node's lock counts say is what the requests that hold it say.

    A request locks the path from its last node to the root on the full side, and as far up as
    its receipt says on the SWA side. Fewer locks than holders: the node may be evicted under
    them. More: it is never evicted again.

    Args:
        parent: `(nodes,)`, int64, the parent's index; -1 for the root, which is not judged.
        full_lock, swa_lock: `(nodes,)`, integer, the counts of the tree.
        full_held, swa_held: `(nodes,)`, integer, requests whose lock covers the node.
        complete: is every holder among them? Else only too few locks are told.
        swa_exact: does the SWA side lock every node of the path? Where it passes over
            tombstones, too few there are not told.
    Returns: I16 faults, row = node; `expected` is the number of holders.
    Cost: about 16 small launches, on the host if the arguments are; no sync until `read()`.
    """
    real = parent >= 0
    faults = []
    sides = (
        ("full_lock_ref", full_lock, full_held, True),
        ("swa_lock_ref", swa_lock, swa_held, swa_exact),
    )
    for name, locks, holders, exact in sides:
        count, wanted = locks.to(torch.int64), holders.to(torch.int64)
        too_few, too_many = real & (count < wanted), real & (count > wanted)
        judged = [(Found.LOCK_BELOW_HOLDERS, too_few)] if exact else []
        judged += [(Found.LOCK_ABOVE_HOLDERS, too_many)] if complete else []
        faults += [
            Fault("I16", name, mask, count, 0, 2**31, expected=wanted, kind=kind)
            for kind, mask in judged
        ]
    return Findings(faults)


def check_locked_tokens(locked: int, held: int, *, complete: bool) -> Evidence | None:
    """I16: the tokens that a tree says are locked are those that its holders' paths have.

    The coarser half of `check_lock_holders`, where no node's own count can be read.

    Args:
        locked: tokens of all nodes with a lock. held: tokens on the paths of the requests.
        complete: is every holder among them? Else only too few locked tokens are told.
    Cost: host integers; legal under capture.
    """
    if locked == held or (locked > held and not complete):
        return None
    few = locked < held
    kind = Found.LOCK_BELOW_HOLDERS if few else Found.LOCK_ABOVE_HOLDERS
    word = "fewer" if few else "more"
    return Evidence(
        "I16",
        f"{word} tokens of the tree are locked than requests hold: {locked} and {held}",
        "between two steps",
        total=abs(locked - held),
        facts={"locked tokens": locked, "tokens on the paths of requests": held},
        kind=kind,
    )
