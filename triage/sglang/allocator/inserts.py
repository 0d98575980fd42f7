"""I17 at a prefix cache's insert: what a lock keeps is not freed by it.

The failure: another request's insert revives a node whose SWA side was evicted, takes its own
slots for it and frees the node's, which a running request has locked and reads
(sgl-project/sglang#29352). The rule: a lock on a node is a promise about its full slots, so
they are noted when an insert begins, and nothing of them may go back before it ends.

Beside the ledger, which reads what is freed anyway. Only locked nodes are walked: a lock on a
node locks every node above it. Not covered: trees whose nodes are out of reach (0.5.23's Rust
core).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from triage.device import capture
from triage.sglang.allocator.ledger_hooks import LedgerHooks
from triage.sglang.allocator.tree import root_of, value_of
from triage.sglang.allocator.tree_locks import locks_of


class Inserts:
    """Stands around the insert of SGLang's trees."""

    def __init__(self, books: LedgerHooks) -> None:
        self.books = books

    def around_insert(self, original: Any, cache: Any, *args: Any, **kwargs: Any) -> Any:
        if capture.capturing():
            return original(cache, *args, **kwargs)
        with self.books.tree_inserts(locked_slots(cache)):
            return original(cache, *args, **kwargs)


def locked_slots(cache: Any) -> Tensor | None:
    """Full slots of every locked node, `(n,)` int64, on their device; None if none is locked.

    Host work over the locked nodes, and one launch; no sync.
    """
    root = root_of(cache)
    pending = [] if root is None else list(root.children.values())
    held: list[Tensor] = []
    while pending:
        node = pending.pop()
        if locks_of(node)[0] > 0:
            pending += node.children.values()
            value = value_of(node)
            if value is not None and len(value):
                held.append(value.to(torch.int64))
    return torch.cat(held) if held else None
