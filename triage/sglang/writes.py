"""The write trap (I3): the slots a forward is about to write, at `SWAKVPool.set_kv_buffer`.

All layers write the same slots, so the first write of a forward is checked, both
index spaces in one go, and the others cost a few comparisons of object identity. How
the location is passed changed: a tensor that the pool translates (0.5.12.post1), two
tensors (0.5.13.post1), a `KVWriteLoc` that carries both (0.5.14 on). The fused fp8
store takes it from the batch and goes past the pool's method.

Mode `raise` reads the answer before the write; otherwise, and under capture, the
device checker has it for the step's mark. A write is never redirected.

Not covered: a unified pool's virtual slots (0.5.23), a draft's own pool.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from triage import capture
from triage.device import CheckRefused
from triage.invariants.reads import IndexSpace
from triage.invariants.writes import check_writes
from triage.sglang.entry import Entry
from triage.sglang.pools import active_pool, is_hybrid, num_pages
from triage.traps import Traps


@dataclass(frozen=True, slots=True)
class Write:
    """Full and SWA slots of one write; SWA is None where the pool translates by itself."""

    loc: Tensor
    swa_loc: Tensor | None


@dataclass(frozen=True, slots=True)
class Written:
    """The newest write that was checked on the device, and the forward it belongs to."""

    write: Write
    backend: Any
    metadata: Any
    graph: bool

    def again(self, where: Any) -> bool:
        """Does another layer of the same forward write to `where`, a `KVWriteLoc`?"""
        return (
            getattr(where, "loc", None) is self.write.loc
            and where.swa_loc is self.write.swa_loc
            and self.backend.forward_metadata is self.metadata
            and capture.capturing() == self.graph
        )

    def same(self, write: Write) -> bool:
        return (
            write.loc is self.write.loc
            and write.swa_loc is self.write.swa_loc
            and self.backend.forward_metadata is self.metadata
            and capture.capturing() == self.graph
        )


class WriteTrap:
    """Checks the first write of a forward."""

    def __init__(self, traps: Traps) -> None:
        self.traps = traps
        self._seen: WeakKeyDictionary[Any, tuple[Any, set[tuple[int, int, bool]]]] = (
            WeakKeyDictionary()
        )
        self._newest: Written | None = None
        self._swa_loc_at: int | None = None

    def restart(self) -> None:
        self._seen.clear()
        self._newest = None

    # -- where it stands -----------------------------------------------------------------

    def around(self, original: Any, pool: Any, *args: Any, **kwargs: Any) -> Any:
        """At `set_kv_buffer(layer, loc or loc_info, k, v, ...)`."""
        where = args[1] if len(args) > 1 else None
        newest = self._newest
        if newest is not None and newest.again(where):
            return original(pool, *args, **kwargs)
        if is_hybrid(pool):
            write = self._written(original, pool, args, kwargs)
            if write is not None:
                self._look(pool, args[0] if args else kwargs["layer"], write)
        return original(pool, *args, **kwargs)

    def around_fused(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        """At the backend's fused fp8 store."""
        call = self.traps.entries.inside.call
        if call is not None:
            _, layer, forward_batch = call
            pool = active_pool(backend, forward_batch)
            if is_hybrid(pool):
                swa = getattr(backend.forward_metadata, "swa_out_cache_loc", None)
                swa = getattr(forward_batch, "out_cache_loc_swa", None) if swa is None else swa
                self._look(pool, layer, Write(forward_batch.out_cache_loc, swa))
        return original(backend, *args, **kwargs)

    def _written(
        self, original: Any, pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Write | None:
        passed: Any = args[1] if len(args) > 1 else kwargs.get("loc_info", kwargs.get("loc"))
        if isinstance(passed, Tensor):
            return Write(passed, self._swa_loc(original, pool, args, kwargs))
        if getattr(passed, "full_loc", None) is not None:
            self.traps.counts["writes not covered: virtual slots"] += 1
            return None
        return Write(passed.loc, passed.swa_loc)

    def _swa_loc(
        self, original: Any, pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor | None:
        if "swa_loc" in kwargs:
            return kwargs["swa_loc"]
        if self._swa_loc_at is None:
            names = list(inspect.signature(original).parameters)
            self._swa_loc_at = names.index("swa_loc") - 1 if "swa_loc" in names else -1
        if 0 <= self._swa_loc_at < len(args):
            return args[self._swa_loc_at]
        return getattr(pool, "swa_loc", None)

    def _look(self, pool: Any, layer: Any, write: Write) -> None:
        if self.traps.reads_device and not self.traps.capturing():
            self._check(pool, layer, write.loc, write.swa_loc)
        else:
            self._watch(pool, write)

    # -- without waiting -----------------------------------------------------------------

    def _watch(self, pool: Any, write: Write) -> None:
        watching = self.traps.watching
        call = self.traps.entries.inside.call
        graph = watching.graph_now()
        if self._newest is not None and self._newest.same(write):
            return
        if call is not None:
            self._newest = Written(write, call[0], call[0].forward_metadata, graph > 0)
        watch = watching.watch
        if watch is None:
            self.traps.counts["writes not covered"] += 1
            return
        entry = self.traps.entry
        loc, swa_loc = write.loc, write.swa_loc
        # The batch's SWA slots keep the padded length where a call writes fewer.
        if swa_loc is not None and len(swa_loc) != len(loc):
            swa_loc = swa_loc[: len(loc)] if len(swa_loc) > len(loc) else None
        requests, each = _rows(entry, loc)
        full, swa = _spaces(pool)
        tag = watch.tag(
            space="full and swa" if swa_loc is not None else "full",
            kind="write",
            graph=graph,
            layer_id=None if entry is None else entry.layer_id,
            forward_mode="" if entry is None else entry.forward_mode,
        )
        try:
            watch.checker.check_writes(
                loc,
                full,
                swa_loc=swa_loc,
                swa_space=swa,
                full_to_swa=pool.full_to_swa_index_mapping,
                req_pool_indices=requests,
                tokens_per_row=each,
                tag=tag,
            )
        except CheckRefused as refusal:
            self.traps.counts["writes not covered"] += 1
            watch.refuse(f"write: {refusal}")
            return
        self.traps.counts["writes"] += 1

    # -- before the write, in mode `raise` -------------------------------------------------

    def _check(self, pool: Any, layer: Any, loc: Tensor, swa_loc: Tensor | None) -> None:
        entry = self.traps.entry
        slides = bool(pool.layers_mapping[layer.layer_id][1])
        key = (loc.data_ptr(), 0 if swa_loc is None else swa_loc.data_ptr(), slides)
        metadata = None if entry is None else entry.metadata
        known = self._seen.get(pool)
        if known is None or known[0] is not metadata:
            known = self._seen[pool] = (metadata, set())
        if metadata is not None and key in known[1]:
            return
        known[1].add(key)
        requests, each = _rows(entry, loc)
        full, swa = _spaces(pool)
        found = check_writes(
            loc,
            full,
            swa_loc=swa_loc if slides else None,
            swa_space=swa,
            full_to_swa=pool.full_to_swa_index_mapping,
            req_pool_indices=requests,
            tokens_per_row=each,
        )
        self.traps.fire_findings(
            found,
            "I3",
            "a token is written to a slot that is not its own",
            "swa" if slides else "full",
            "set_kv_buffer",
        )


def _spaces(pool: Any) -> tuple[IndexSpace, IndexSpace]:
    page = int(pool.page_size)
    full, swa = num_pages(pool.full_kv_pool, page), num_pages(pool.swa_kv_pool, page)
    return IndexSpace("full", page, full), IndexSpace("swa", page, swa)


def _rows(entry: Entry | None, loc: Tensor) -> tuple[Tensor | None, int]:
    """The batch's requests and the tokens of each, where every row has as many."""
    requests = None if entry is None else entry.req_pool_indices
    rows = 0 if requests is None else len(requests)
    if rows == 0 or len(loc) % rows or entry is None or not entry.uniform:
        return None, 1
    return requests, len(loc) // rows
