"""I24 at HiCache: the host pools' slots, and what is queued between them and the device.

Stands at `HostKVCache.alloc`, `free` and `clear`, and where a controller queues what was asked
for, `start_writing` (device to host) and `start_loading` (host to device): there the lists of
every pool of the transfer are complete, the sliding window's included, and on the host. The
event behind a transfer, which SGLang polls too, says when it is through. And where pages are put
onto the queue of those to be freed, `append_host_mem_release`: the thread that reads from storage
does it too, where an exception would end that thread alone, so what is found there is told at the
scheduler's next call of the pool, which is before those pages go back.

Not covered: slots on the device's side (their ids are on the device; I1, I2 and the look at the
free lists see what a wrong one does), of storage behind the host (L3) all but the list that a
backup names, host pools that do not come from `HostKVCache` and those that were filled before
the hooks.

Host integers only; nothing waits.
"""

from __future__ import annotations

import importlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import numpy as np
import torch

from triage.evidence import Evidence
from triage.invariants.geometry import check_transfer
from triage.invariants.transfers import HostPages
from triage.sglang.scheduler.storage_backups import CHECK, StorageBackups
from triage.sglang.scheduler.storage_backups import TREES as BACKED_TREES

HOST_POOLS = (
    "sglang.srt.mem_cache.pool_host.base.HostKVCache",  # 0.5.14 and later
    "sglang.srt.mem_cache.memory_pool_host.HostKVCache",
)
CONTROLLERS = (
    "sglang.srt.managers.cache_controller.HiCacheController",
    "sglang.srt.mem_cache.hybrid_cache.hybrid_cache_controller.HybridCacheController",
)
READ, WRITTEN = "read", "written"
RELEASE = "append_host_mem_release"


class HostTransfers:
    """The host pools of a process. `report` gets every finding, and normally raises."""

    def __init__(self, report: Callable[[Evidence], None]) -> None:
        self.report = report
        self.transfers = 0  # lists that were judged
        self.backups = StorageBackups(report)
        self._pools: WeakKeyDictionary[Any, HostPages] = WeakKeyDictionary()
        self._of_threads: deque[Evidence] = deque(maxlen=1)  # found where nothing may be raised

    def restart(self) -> None:
        """As in a new process: pools are known again once they are cleared."""
        self.transfers = 0
        self.backups.restart()
        self._pools.clear()
        self._of_threads.clear()

    # -- a host pool -------------------------------------------------------------------------

    def around_clear(self, original: Any, pool: Any, *args: Any, **kwargs: Any) -> Any:
        """The end of a pool's construction too: from here on it is known."""
        result = original(pool, *args, **kwargs)
        if not _follows(type(pool)):
            return result
        slots = len(getattr(pool, "free_slots", ()))
        page = int(getattr(pool, "logical_page_size", pool.page_size))
        name = str(getattr(pool, "pool_label", "") or "pool")
        self._pools[pool] = HostPages(name, slots, page)
        return result

    def around_alloc(self, original: Any, pool: Any, *args: Any, **kwargs: Any) -> Any:
        self._tell_of_threads()
        slots = original(pool, *args, **kwargs)
        known = self._pools.get(pool)
        if known is not None and _on_host(slots):
            known.handed_out(slots.numpy())
        return slots

    def around_free(self, original: Any, pool: Any, *args: Any, **kwargs: Any) -> Any:
        self._tell_of_threads()
        known = self._pools.get(pool)
        slots = args[0] if args else next(iter(kwargs.values()), None)
        if known is not None and _on_host(slots):
            self._tell(known.freed(slots.numpy(), "HostKVCache.free"))
        elif known is not None:
            self._pools.pop(pool, None)  # slots that the host cannot see: not followed any more
        return original(pool, *args, **kwargs)

    def around_release(
        self,
        original: Any,
        controller: Any,
        host_indices: Any = None,
        extra_pools: Any = None,
        **kwargs: Any,
    ) -> Any:
        """I24: pages are queued to be freed, on the scheduler's thread or that of storage."""
        given = () if extra_pools is None else (extra_pools,)
        where = f"HiCacheController.{RELEASE}"
        pool = self._known(self._anchor(controller))
        found = None
        if pool is not None and _on_host(host_indices):
            found = pool.let_go(host_indices.numpy(), where)
        entries = getattr(controller.mem_pool_host, "entry_map", {})
        for each in extra_pools or ():
            entry = entries.get(each.name)
            shared = getattr(each, "indices_from_pool", None) is not None
            if entry is None or shared or getattr(entry, "is_primary_index_anchor", False):
                continue
            pool = self._known(entry.host_pool)
            if pool is not None and _on_host(each.host_indices):
                found = found or pool.let_go(each.host_indices.numpy(), where)
        if found is not None and threading.current_thread() is not threading.main_thread():
            self._of_threads.append(found)
        else:
            self._tell(found)
        return original(controller, host_indices, *given, **kwargs)

    # -- a controller ------------------------------------------------------------------------

    def around_start_writing(self, original: Any, controller: Any, *args: Any) -> Any:
        return self._started(original, controller, args, "write", WRITTEN)

    def around_start_loading(self, original: Any, controller: Any, *args: Any) -> Any:
        return self._started(original, controller, args, "load", READ)

    def _started(self, original: Any, controller: Any, args: Any, side: str, way: str) -> Any:
        where = f"HiCacheController.{original.__name__}"
        queued = list(getattr(controller, f"{side}_queue", ()))
        used = [each for op in queued for each in self._lists(controller, op)]
        for op in queued if way == WRITTEN else ():
            self.backups.copied(op)
        for pool, host, device in used:
            if device is not None:
                read, written = len(host), len(device)
                if way == WRITTEN:
                    read, written = written, read
                self._tell(check_transfer(read, written, where=where))
            if pool is not None:
                self.transfers += 1
                self._tell(pool.check(host, where))
        acks: Any = getattr(controller, f"ack_{side}_queue", ())
        before = len(acks)
        result = original(controller, *args)
        if len(acks) > before:
            through = getattr(acks[-1], "finish_event", None)
            query = getattr(through, "query", None)
            for pool, host, _ in used:
                if pool is not None and query is not None:
                    pool.started(host, way, query)
        return result

    def _lists(
        self, controller: Any, op: Any
    ) -> Iterator[tuple[HostPages | None, np.ndarray, Any]]:
        """(host pool if it is known, its slots, the device's slots) of each pool of a transfer."""
        group = controller.mem_pool_host
        if _on_host(op.host_indices):
            yield self._known(self._anchor(controller)), op.host_indices.numpy(), op.device_indices
        entries = getattr(group, "entry_map", {})
        for each in getattr(op, "pool_transfers", None) or ():
            entry = entries.get(each.name)
            shared = getattr(each, "indices_from_pool", None) is not None
            if entry is not None and not shared and _on_host(each.host_indices):
                yield self._known(entry.host_pool), each.host_indices.numpy(), each.device_indices

    def around_writing_check(self, original: Any, tree: Any, *args: Any, **kwargs: Any) -> Any:
        return self.backups.around_writing_check(original, tree, *args, **kwargs)

    @staticmethod
    def _anchor(controller: Any) -> Any:
        """The pool whose slots a controller's own lists name: one of a group, or the only one."""
        group = controller.mem_pool_host
        return getattr(getattr(group, "anchor_entry", None), "host_pool", group)

    def _tell_of_threads(self) -> None:
        """On the scheduler's thread."""
        if self._of_threads and threading.current_thread() is threading.main_thread():
            self._tell(self._of_threads.popleft())

    def _known(self, pool: Any) -> HostPages | None:
        return self._pools.get(pool)

    def _tell(self, found: Evidence | None) -> None:
        if found is not None:
            self.report(found)


def _follows(kind: type) -> bool:
    """Are its slots handed out and taken back by `HostKVCache` itself, where the hooks are?"""
    for base in kind.__mro__:
        if f"{base.__module__}.{base.__qualname__}" in HOST_POOLS:
            return all(getattr(kind, name) is getattr(base, name) for name in ("alloc", "free"))
    return False


def _on_host(slots: Any) -> TypeGuard[torch.Tensor]:
    return isinstance(slots, torch.Tensor) and slots.device.type == "cpu"


def targets() -> dict[str, str]:
    """Dotted path of each method of this release -> the name of the hook, of those it has."""
    found: dict[str, str] = {}
    for path in HOST_POOLS:
        if _has(path):
            found |= {f"{path}.{name}": f"around_{name}" for name in ("alloc", "free", "clear")}
            break
    for path in CONTROLLERS:
        for name in ("start_writing", "start_loading"):
            if _has(path, name):
                found[f"{path}.{name}"] = f"around_{name}"
        if _has(path, RELEASE):
            found[f"{path}.{RELEASE}"] = "around_release"
    for path in BACKED_TREES:
        if _has(path, CHECK):
            found[f"{path}.{CHECK}"] = "around_writing_check"
    return found


def _has(path: str, own: str = "") -> bool:
    """Can the class be imported, and has it a method of its own by that name?"""
    module, _, name = path.rpartition(".")
    try:
        owner = getattr(importlib.import_module(module), name, None)
    except Exception:  # HiCache needs packages that a server without it may lack
        return False
    return owner is not None and (not own or own in vars(owner))
