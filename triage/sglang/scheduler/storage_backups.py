"""I24 between HiCache's host pool and the storage behind it: what was copied is what is stored.

The failure: a node's pages are on their way to the host when the tree splits the node. When the
copy is acknowledged, the backup takes the node as it is by then, which is the rear part alone;
the front part is never stored (sgl-project/sglang#16946). The rule: of each copy that is
acknowledged, storage gets all host slots that were copied, or none.

Host integers; nothing waits. Copies are remembered until a tree says that it has no storage.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import numpy as np
import torch

from triage.evidence import Evidence
from triage.invariants.transfers import check_backup

TREES = (
    "sglang.srt.mem_cache.hiradix_cache.HiRadixCache",
    "sglang.srt.mem_cache.hi_mamba_radix_cache.HiMambaRadixCache",
    "sglang.srt.mem_cache.unified_radix_cache.UnifiedRadixCache",
)
CHECK = "writing_check"
"""Where each of these trees takes note of the copies that are through."""

_KEPT = 4096
"""Copies that are remembered: one that is never acknowledged is forgotten in the end."""


class StorageBackups:
    """The copies of a process that are not acknowledged yet, by the id that they are known by."""

    def __init__(self, report: Callable[[Evidence], None]) -> None:
        self.report = report
        self._copied: OrderedDict[Any, np.ndarray] = OrderedDict()
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.backups = 0  # acknowledged copies that were compared
        self._copied.clear()
        self._stores = True  # until a tree says that it has no storage

    def copied(self, operation: Any) -> None:
        """A copy to the host was queued: SGLang's CacheOperation, before it is merged."""
        ids, slots = getattr(operation, "node_ids", None), operation.host_indices
        if not self._stores or not ids or len(ids) != 1 or not _on_host(slots):
            return
        self._copied[ids[0]] = slots.numpy().copy()
        self._copied.move_to_end(ids[0])
        while len(self._copied) > _KEPT:
            self._copied.popitem(last=False)

    def around_writing_check(self, original: Any, tree: Any, *args: Any, **kwargs: Any) -> Any:
        controller = getattr(tree, "cache_controller", None)
        acks: Any = getattr(controller, "ack_write_queue", None)
        self._stores = bool(getattr(tree, "enable_storage", False))
        if not self._stores:
            self._copied.clear()
        if not acks or not self._stores:
            return original(tree, *args, **kwargs)
        waiting = list(acks)
        with _stores_of(controller) as stored:
            result = original(tree, *args, **kwargs)
        left = {id(each) for each in acks}
        for ack in waiting:
            if id(ack) not in left:
                self._acknowledged(getattr(ack, "node_ids", ()), stored)
        return result

    def _acknowledged(self, ids: Any, stored: list[np.ndarray]) -> None:
        for each in ids:
            slots = self._copied.pop(each, None)
            if slots is None:
                continue
            self.backups += 1
            found = check_backup(slots, stored, where="HiCacheController.write_storage")
            if found is not None:
                self.report(found)


@contextmanager
def _stores_of(controller: Any) -> Iterator[list[np.ndarray]]:
    """Host slots of each call of `controller.write_storage`, while this is entered.

    Set on the object, since storage backends replace the method there; the scheduler's thread
    alone calls it.
    """
    stored: list[np.ndarray] = []
    own, write = "write_storage" in vars(controller), controller.write_storage

    def noted(*args: Any, **kwargs: Any) -> Any:
        slots = args[0] if args else kwargs.get("host_indices")
        if _on_host(slots):
            stored.append(slots.numpy().copy())
        return write(*args, **kwargs)

    controller.write_storage = noted
    try:
        yield stored
    finally:
        if own:
            controller.write_storage = write
        else:
            del controller.write_storage


def _on_host(slots: Any) -> TypeGuard[torch.Tensor]:
    return isinstance(slots, torch.Tensor) and slots.device.type == "cpu"
