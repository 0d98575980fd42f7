"""The traps of mode `raise`: look at what a kernel is about to receive, and stop before it does.

The checks are `triage/invariants/`; this file decides when each runs and what
its answer means. One table is shared by all layers of one index space, so it is
checked at its first launch after the metadata was built, and both spaces of a
forward are read in one go: a later layer costs a comparison of host integers.

Not covered here: launches recorded into a CUDA graph. They are counted and
reported as not covered, never as clean.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from triage.call import AttentionCall
from triage.collect import collect, provenance
from triage.config import DEFAULT_CHECKS, invariants_of
from triage.errors import (
    BrokenLifecycle,
    OutOfBounds,
    StaleSWAState,
    TableForm,
    TrapError,
    WrongIndexSpace,
)
from triage.evidence import Evidence
from triage.invariants.allocator import check_allocated
from triage.invariants.findings import Findings, read_together
from triage.invariants.geometry import check_workspace
from triage.invariants.lengths import check_lengths
from triage.invariants.reads import IndexSpace, check_form, check_table
from triage.record import Dump
from triage.sglang.entry import Entry, Origin
from triage.sglang.pools import Reading, active_pool, is_hybrid, num_pages, reading, stale_state
from triage.store import DumpStore

logger = logging.getLogger("triage")

_ERRORS: dict[str, type[TrapError]] = {
    "I1": OutOfBounds,
    "I2": WrongIndexSpace,
    "I12": TableForm,
    "I20": OutOfBounds,
    "I26": TableForm,
}
_SUMMARY = {
    "I1": "a live page-table entry is outside the pool that is read",
    "I2": "a live page-table entry is not the page that req_to_token names",
    "I12": "a sequence length does not fit the launch",
    "I20": "the allocator returned a slot it must not",
    "I26": "the page table is narrower than a sequence",
}


class Traps:
    """The armed traps of one process. `counts` says what was checked, skipped and found."""

    def __init__(self, store: DumpStore, checks: tuple[str, ...] = DEFAULT_CHECKS) -> None:
        self.store = store
        self.enabled = invariants_of(checks)
        self.counts: Counter[str] = Counter()
        self.armed = True
        self._local = threading.local()
        self._origins: WeakKeyDictionary[Any, Origin] = WeakKeyDictionary()
        self._allocators: WeakSet[Any] = WeakSet()
        self._checked: WeakKeyDictionary[Any, tuple[Any, Any, set[tuple[Any, ...]]]] = (
            WeakKeyDictionary()
        )
        self._warned_capture = False

    def restart(self, directory: Path) -> None:
        """Forget every backend, table and count, as in a new process; dumps go to `directory`."""
        self.store = replace(self.store, directory=directory)
        self.counts.clear()
        self._origins.clear()
        self._allocators.clear()
        self._checked.clear()

    # -- where a launch comes from -----------------------------------------------------

    def note_backend(self, backend: Any, model_runner: Any) -> None:
        self._origins[backend] = Origin.of(model_runner)

    @contextmanager
    def entered(self, backend: Any, layer: Any, forward_batch: Any) -> Any:
        """Calls to FlashInfer inside belong to this layer of this backend."""
        before = getattr(self._local, "entry", None)
        origin = self._origins.get(backend, Origin())
        self._local.entry = Entry(backend, layer, forward_batch, origin, self.allocator_of)
        try:
            yield
        finally:
            self._local.entry = before

    def forget_tables(self, backend: Any) -> None:
        """New metadata: nothing of this backend has been checked yet."""
        self._checked.pop(backend, None)

    @property
    def entry(self) -> Entry | None:
        """The call of the backend that this thread is in."""
        entry: Entry | None = getattr(self._local, "entry", None)
        return entry

    @staticmethod
    def capturing() -> bool:
        return _capturing()

    def allocator_of(self, pool: Any) -> Any:
        """The SWA allocator that hands out the slots of `pool`, if it was seen."""
        return next((a for a in self._allocators if getattr(a, "_kvcache", None) is pool), None)

    # -- the launch --------------------------------------------------------------------

    def before_launch(self, call: AttentionCall) -> None:
        """Raise a TrapError if this launch would read what it must not.

        Cost: per layer a few attribute reads; at the first launch of a forward one
        host read for both index spaces together.
        """
        self.counts["launches"] += 1
        entry = self.entry
        pool = None if entry is None else active_pool(entry.backend, entry.forward_batch)
        read = reading(call, pool, None if entry is None else entry.layer_id)
        if _capturing():
            self._not_covered()
            return
        if "I27" in self.enabled:
            self._workspace(call)
        stale = None if entry is None else stale_state(entry.backend, pool)
        key = _key(call, read.space)
        checked = self._checked_of(entry)
        if key in checked:
            return
        form = check_form(
            call.block_tables,
            call.cache_seqlens,
            page_size=call.page_size,
            device_of_kernel=call.query.device,
            where=self._where(call),
        )
        if form and "I26" in self.enabled:
            self._fire(TableForm, form[0], call, entry, read)
        mine = self._check(call, entry, read)
        sibling = None if entry is None else self._sibling(call, entry, read)
        lengths = None if entry is None else self._lengths(call, entry)
        extra = [found for found in (sibling and sibling[1], lengths) if found]
        read_together([mine, *extra])
        self.counts["tables"] += 1
        self.counts["host reads"] += 1
        if lengths is not None and (wrong := self._wrong(lengths)):
            self._fire_table(lengths, wrong, None, call, entry, read)
        wrong = self._wrong(mine)
        if wrong:
            self._fire_table(mine, wrong, stale, call, entry, read)
        if stale is not None and "I2" in self.enabled:
            self._note_stale(stale)
        checked.add(key)
        if sibling and not self._wrong(sibling[1]):
            checked.add(sibling[0])

    def _check(self, call: AttentionCall, entry: Entry | None, read: Reading) -> Findings:
        known = entry is not None and entry.rows_match(call)
        return check_table(
            call.block_tables,
            call.cache_seqlens,
            read.space,
            window_left=call.window_left,
            q_len=max(call.q_len_per_req, 1),
            cum_seq_lens_q=call.cum_seq_lens_q,
            req_pool_indices=entry.req_pool_indices if known and entry else None,
            req_to_token=entry.req_to_token if known and entry else None,
            full_to_swa=read.full_to_swa,
        )

    def _workspace(self, call: AttentionCall) -> None:
        """I27: newer releases pass the split-K counters apart, older keep them in the workspace."""
        counters = call.arguments.get("multi_ctas_kv_counter_buffer")
        if counters is None:
            counters = call.arguments.get("workspace_buffer")
        if isinstance(counters, Tensor):
            found = check_workspace(counters)
            summary = "a split-K counter is not zero before the launch"
            self.fire_findings(found, "I27", summary, "", self._where(call))

    def _lengths(self, call: AttentionCall, entry: Entry) -> Findings | None:
        """I12 against the forward batch: metadata of another forward has other lengths."""
        seq_lens = getattr(entry.forward_batch, "seq_lens", None)
        if seq_lens is None or not entry.rows_match(call):
            return None
        added = entry.added_tokens
        if not added:
            return None
        return check_lengths(
            call.cache_seqlens,
            seq_lens,
            added,
            req_pool_indices=entry.req_pool_indices,
        )

    def _sibling(
        self, call: AttentionCall, entry: Entry, read: Reading
    ) -> tuple[tuple[Any, ...], Findings] | None:
        """The table of the other index space of this forward, checked in the same host read.

        What it finds is not reported: the launch that uses the table is checked
        with its own arguments if this is not clean.
        """
        if not is_hybrid(read.pool) or not entry.rows_match(call):
            return None
        to_swa = read.space.name == "full"
        table = getattr(entry.metadata, "swa_page_table" if to_swa else "page_table", None)
        window = entry.origin.sliding_window if to_swa else -1
        if table is None or window is None or table.shape[0] != call.block_tables.shape[0]:
            return None
        pool = read.pool.swa_kv_pool if to_swa else read.pool.full_kv_pool
        other = AttentionCall(
            call.api, {**call.arguments, "block_tables": table, "window_left": window}
        )
        space = IndexSpace(
            "swa" if to_swa else "full", call.page_size, num_pages(pool, call.page_size)
        )
        mapping = read.pool.full_to_swa_index_mapping if to_swa else None
        return _key(other, space), self._check(other, entry, Reading(read.pool, space, mapping))

    def _checked_of(self, entry: Entry | None) -> set[tuple[Any, ...]]:
        if entry is None:
            return set()
        # A forward brings its own lengths; a draft's steps and copied batches share them.
        lengths = getattr(entry.forward_batch, "seq_lens", None)
        known = self._checked.get(entry.backend)
        if known is None or known[0] is not entry.metadata or known[1] is not lengths:
            known = self._checked[entry.backend] = (entry.metadata, lengths, set())
        return known[2]

    def _wrong(self, found: Findings) -> dict[str, int]:
        """Offenders of the invariants that are enabled; empty if there are none."""
        return {name: n for name, n in found.read().items() if n and name in self.enabled}

    def _fire_table(
        self,
        found: Findings,
        counts: dict[str, int],
        stale: str | None,
        call: AttentionCall,
        entry: Entry | None,
        read: Reading,
    ) -> None:
        # I1 is the late symptom, I2 the cause; a wrong length makes both.
        first = next((name for name in ("I26", "I12", "I2", "I1") if name in counts), "I2")
        seen = [v for v in found.violations(limit=64) if v.invariant in counts]
        seen.sort(key=lambda v: (v.invariant != first, v.row, v.column))
        evidence = Evidence(
            invariant=first,
            summary=stale or _SUMMARY[first],
            where=self._where(call),
            pool=read.space.name,
            layer_id=None if entry is None else entry.layer_id,
            forward_mode="" if entry is None else entry.forward_mode,
            total=sum(counts.values()),
            rows_affected=found.rows_affected,
            violations=tuple(seen),
            facts={"counts": counts},
        )
        self._fire(_ERRORS[first] if stale is None else StaleSWAState, evidence, call, entry, read)

    def _fire(
        self,
        error: type[TrapError],
        evidence: Evidence,
        call: AttentionCall,
        entry: Entry | None,
        read: Reading,
    ) -> None:
        self.counts["violations"] += 1
        dump = collect(evidence, call, entry, read, self.counts["launches"])
        raise error(evidence, self._save(dump, error))

    def _save(self, dump: Dump, error: type[TrapError]) -> str:
        path, problem = self.store.save(dump, f"{error.__name__}-{dump.fault.pool or 'any'}")
        if path is None:
            return f"no dump was written: {problem}"
        return f"dump: {path}\nnext: triage explain {path}"

    def _where(self, call: AttentionCall) -> str:
        kind = "decode" if "decode" in call.api else "context"
        return f"{kind} launch {self.counts['launches']}"

    def _note_stale(self, stale: str) -> None:
        """Stale state with right ids: both pools happen to have handed out the same pages.

        It is an error already, but the launch is harmless and has no wrong entry to
        show. The first launch with one raises StaleSWAState and dumps the rows.
        """
        if not self.counts["forwards with stale SWA state, ids still right"]:
            logger.error(
                "sglang-triage: %s; ids still agree, stopping at the first wrong one", stale
            )
        self.counts["forwards with stale SWA state, ids still right"] += 1

    def _not_covered(self) -> None:
        self.counts["launches under capture, not covered"] += 1
        if not self._warned_capture:
            self._warned_capture = True
            logger.warning(
                "sglang-triage: mode raise does not cover launches recorded into a CUDA graph; "
                "run with --disable-cuda-graph to have them checked"
            )

    # -- the allocator -----------------------------------------------------------------

    def after_alloc(self, allocator: Any, slots: Tensor | None, where: str) -> None:
        """Raise OutOfBounds if `alloc_extend` or `alloc_decode` returned an illegal slot.

        Both sides are judged: the full slots returned and the SWA slots they map
        to. None, a full pool, is not a fault. Cost: one host read.
        """
        self._allocators.add(allocator)
        if slots is None or "I20" not in self.enabled or _capturing():
            return
        mapping = allocator.full_to_swa_index_mapping
        page = int(allocator.page_size)
        swa = mapping[slots.to(torch.int64).clamp(0, len(mapping) - 1)]
        sides = (
            ("full", check_allocated(slots, size=int(allocator.size_full), page_size=page)),
            ("swa", check_allocated(swa, size=int(allocator.size_swa), page_size=page)),
        )
        read_together([found for _, found in sides])
        self.counts["allocations"] += 1
        self.counts["host reads"] += 1
        for name, found in sides:
            if found.total:
                self._fire_alloc(name, found, where)

    def _fire_alloc(self, pool: str, found: Findings, where: str) -> None:
        self.counts["violations"] += 1
        evidence = Evidence(
            invariant="I20",
            summary=_SUMMARY["I20"],
            where=where,
            pool=pool,
            total=found.total,
            rows_affected=found.rows_affected,
            violations=found.violations(limit=64),
        )
        dump = Dump(fault=evidence, provenance=provenance())
        raise OutOfBounds(evidence, self._save(dump, OutOfBounds))

    # -- events without a launch -----------------------------------------------------------

    def fire_event(self, evidence: Evidence) -> None:
        """Raise what a ledger or state check found, if its invariant is enabled."""
        if evidence.invariant not in self.enabled:
            return
        self.counts["violations"] += 1
        error = _ERRORS.get(evidence.invariant, BrokenLifecycle)
        raise error(evidence, self._save(Dump(fault=evidence, provenance=provenance()), error))

    def fire_findings(
        self, found: Findings, invariant: str, summary: str, pool: str, where: str
    ) -> None:
        """The same for findings of a check; one host read."""
        if invariant not in self.enabled or not found.total:
            return
        self.fire_event(
            Evidence(
                invariant,
                summary,
                where,
                pool=pool,
                total=found.total,
                rows_affected=found.rows_affected,
                violations=found.violations(limit=64),
            )
        )


def _key(call: AttentionCall, space: IndexSpace) -> tuple[Any, ...]:
    """What a launch of the same forward must share for the check to hold for it too."""
    table = call.block_tables
    return (
        table.data_ptr(),
        tuple(table.shape),
        tuple(table.stride()),
        table.dtype,
        call.cache_seqlens.data_ptr(),
        call.window_left,
        call.q_len_per_req,
        space,
    )


def _capturing() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
