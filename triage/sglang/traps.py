"""The traps: look at what a kernel is about to receive, and stop before it does.

The checks are `triage/invariants/`; this file decides when each runs and what
its answer means. One table is shared by all layers of one index space, so it is
checked at its first launch after the metadata was built, and both spaces of a
forward are read in one go: a later layer costs a comparison of host integers.

That is mode `raise`, which reads from the device. Modes `contain` and `log`, and
every launch recorded into a CUDA graph, go to `triage/device/watch.py`, which never does.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from triage.config import invariants_of
from triage.device import capture
from triage.dump.provenance import provenance
from triage.dump.sections import Dump
from triage.dump.store import DumpStore
from triage.errors import OutOfBounds, StaleSWAState, TableForm, TrapError
from triage.evidence import Evidence
from triage.invariants.allocator import check_allocated
from triage.invariants.catalogue import CHEAP_FAMILIES, error_of, first_of, sentence
from triage.invariants.findings import Findings, read_together
from triage.invariants.geometry import check_workspace
from triage.invariants.reads import IndexSpace, check_form, check_table
from triage.sglang.allocator.last_loc_checks import holders
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.collect import collect
from triage.sglang.launch.companion_checks import judged_beside
from triage.sglang.launch.entry import Entries, Entry
from triage.sglang.launch.hot_state import Given
from triage.sglang.launch.pools import (
    Reading,
    active_pool,
    is_hybrid,
    num_pages,
    reading,
    stale_state,
)
from triage.sglang.launch.watching import Watching
from triage.sglang.scheduler.history import History, told
from triage.sglang.scheduler.steps import Steps

logger = logging.getLogger("triage")

WRONG_LAST_SLOT = "a request goes on behind a slot that is not its own last one"


class Traps:
    """The armed traps of one process. `counts` says what was checked, skipped and found."""

    def __init__(
        self,
        store: DumpStore,
        checks: tuple[str, ...] = CHEAP_FAMILIES,
        mode: str = "raise",
        strict: bool = True,
        kv: str = "none",
    ) -> None:
        self.store = store
        self.kv = kv
        self.mode = mode
        # Does any check wait for the device? Only where raising before the launch was asked for.
        self.reads_device = mode == "raise"
        self._counts: Counter[str] = Counter()
        self.entries = Entries()
        self.watching = Watching(self, "log" if mode == "log" else "contain", strict=strict)
        self.steps = Steps(self)
        self.history = History(self)
        self.enabled = invariants_of(checks)
        self.ranges_only = False  # I20 as an earlier trap had it (lab/matrix.py)
        self.is_fresh: Callable[[Any, Any], Evidence | None] | None = None
        self._checked: WeakKeyDictionary[Any, tuple[Any, Any, set[tuple[Any, ...]]]] = (
            WeakKeyDictionary()
        )

    def restart(self, directory: Path) -> None:
        """Forget every backend, table and count, as in a new process; dumps go to `directory`."""
        self.store = replace(self.store, directory=directory)
        self.counts.clear()
        self.entries.forget()
        self._checked.clear()
        self.watching.restart()
        self.steps = Steps(self)
        self.history = History(self)

    @property
    def counts(self) -> Counter[str]:
        """The seat's own counts are taken over when they are asked for."""
        seat, counts = self.entries.seat, self._counts
        if seat.repeated or seat.again:
            counts["launches"] += seat.repeated + seat.again
            counts["tables"] += seat.again
            seat.repeated = seat.again = 0
        return counts

    @property
    def armed(self) -> bool:
        """False: every hook and wrapper goes straight on."""
        return self.entries.seat.armed

    @armed.setter
    def armed(self, armed: bool) -> None:
        self.entries.seat.armed = armed

    @property
    def may_wait(self) -> bool:
        """May a check wait for the device now? In mode `raise`, and never under a capture."""
        return self.reads_device and not capture.capturing()

    # -- where a launch comes from -----------------------------------------------------

    def note_backend(self, backend: Any, model_runner: Any) -> None:
        self.entries.note_backend(backend, model_runner)

    def entered(self, backend: Any, layer: Any, forward_batch: Any) -> AbstractContextManager[None]:
        return self.entries.seat.entered(backend, layer, forward_batch)

    def forget_tables(self, backend: Any, *, graph: bool = False, launches: bool = True) -> None:
        """New metadata: nothing of this backend has been checked yet.

        graph: of a CUDA graph, whose check runs on the device in every mode.
        launches: attention is to follow.
        """
        if self.reads_device:
            self._checked.pop(backend, None)
        expect = launches and (graph or not self.reads_device)
        self.watching.forget(backend, graph=graph, expect=expect)

    @property
    def entry(self) -> Entry | None:
        """The call of the backend that this thread is in."""
        return self.entries.current

    @staticmethod
    def capturing() -> bool:
        return capture.capturing()

    def allocator_of(self, pool: Any) -> Any:
        """The SWA allocator that hands out the slots of `pool`, if it was seen."""
        return self.entries.allocator_of(pool)

    # -- the launch --------------------------------------------------------------------

    def replacements(self, api: str, arguments: Mapping[str, Any]) -> Given | None:
        """The table and lengths the launch must be given instead of its own; None for its own.

        Raises a TrapError, in mode `raise` outside capture, as `before_launch` says. A run that
        warms up for a capture is watched besides, as the capture will be.
        """
        if self.may_wait:
            warms_up = self.warms_up
            self.before_launch(AttentionCall(api, arguments))
            if not warms_up:
                return None
        return self.watching.before_launch(api, arguments)

    @property
    def warms_up(self) -> bool:
        """Does a forward run outside a capture over the metadata of a graph?

        Before each capture SGLang runs it so. Our kernels have to be compiled and loaded by
        then: neither is legal while a stream is captured.
        """
        inside = self.entries.seat.inside
        return inside is not None and id(inside[0]) in self.watching.of_graph

    def before_launch(self, call: AttentionCall) -> None:
        """Raise a TrapError if this launch would read what it must not.

        Cost: per layer a few attribute reads; at the first launch of a forward one
        host read for both index spaces together.
        """
        self.counts["launches"] += 1
        entry = self.entry
        pool = None if entry is None else active_pool(entry.backend, entry.forward_batch)
        read = reading(call, pool, None if entry is None else entry.layer_id)
        if "I27" in self.enabled:
            self._workspace(call)
        stale = None if entry is None else stale_state(entry.backend, pool)
        key = _key(call, read.space)
        checked = self._checked_of(entry)
        if key in checked:
            return
        if entry is not None:
            self.check_fresh(entry.backend, entry.forward_batch)
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
        beside = judged_beside(call, entry, self.enabled)
        read_together([mine, *beside, *([sibling[1]] if sibling else [])])
        self.counts["tables"] += 1
        self.counts["host reads"] += 1
        self.watching.checked_by_host(None if entry is None else entry.backend)
        for found in beside:
            if wrong := self._wrong(found):
                self._fire_table(found, wrong, None, call, entry, read)
        wrong = self._wrong(mine)
        if wrong:
            self._fire_table(mine, wrong, stale, call, entry, read)
        if stale is not None and "I2" in self.enabled:
            self._note_stale(stale)
        checked.add(key)
        if sibling and not self._wrong(sibling[1]):
            checked.add(sibling[0])

    def check_fresh(self, backend: Any, forward_batch: Any) -> None:
        """I11 at the first launch of a forward: the metadata was built for it. Host only."""
        if self.is_fresh is not None and "I11" in self.enabled:
            found = self.is_fresh(backend, forward_batch)
            if found is not None:
                self.fire_event(found)

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
        first = first_of(counts)
        seen = [v for v in found.violations(limit=64) if v.invariant in counts]
        seen.sort(key=lambda v: (v.invariant != first, v.row, v.column))
        facts: dict[str, object] = {"counts": counts}
        if first == "I20" and entry is not None and entry.req_to_token is not None:
            facts["rows_with_that_page"] = holders(
                entry.req_to_token, seen[0].value, call.page_size, seen[0].req_pool_index
            )
        evidence = Evidence(
            invariant=first,
            summary=stale or sentence(first),
            where=self._where(call),
            pool=read.space.name,
            layer_id=None if entry is None else entry.layer_id,
            forward_mode="" if entry is None else entry.forward_mode,
            total=sum(counts.values()),
            rows_affected=found.rows_affected,
            violations=tuple(seen),
            facts=facts,
        )
        self._fire(error_of(first) if stale is None else StaleSWAState, evidence, call, entry, read)

    def _fire(
        self,
        error: type[TrapError],
        evidence: Evidence,
        call: AttentionCall,
        entry: Entry | None,
        read: Reading,
    ) -> None:
        self.counts["violations"] += 1
        launches, with_kv = self.counts["launches"], self.kv == "touched"
        dump = collect(evidence, call, entry, read, launches, with_kv=with_kv)
        raise error(evidence, self.save(dump, error))

    def save(self, dump: Dump, error: type[TrapError]) -> str:
        path, problem = self.store.save(dump, f"{error.__name__}-{dump.fault.pool or 'any'}")
        if path is None:
            return told(path, problem)
        return f"{told(path, problem)}\nnext: triage explain {path}"

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

    # -- the allocator -----------------------------------------------------------------

    @property
    def judges_allocs(self) -> bool:
        """Is the next allocator call looked at? Not where nothing may wait for the device."""
        return "I20" in self.enabled and self.may_wait

    def after_alloc(
        self, allocator: Any, slots: Tensor | None, where: str, beside: Findings | None = None
    ) -> None:
        """Raise OutOfBounds if `alloc_extend` or `alloc_decode` returned an illegal slot.

        Both sides are judged: the full slots returned and the SWA slots they map
        to; `beside`, what the call was given, is read with them. None, a full pool,
        is not a fault. Cost: one host read.
        """
        self.entries.note_allocator(allocator)
        if slots is None or not self.judges_allocs:
            return
        mapping = allocator.full_to_swa_index_mapping
        page = int(allocator.page_size)
        swa = mapping[slots.to(torch.int64).clamp(0, len(mapping) - 1)]
        sides = (
            ("full", check_allocated(slots, size=int(allocator.size_full), page_size=page)),
            ("swa", check_allocated(swa, size=int(allocator.size_swa), page_size=page)),
        )
        read_together([found for _, found in sides] + ([beside] if beside else []))
        self.counts["allocations"] += 1
        self.counts["host reads"] += 1
        if beside is not None and beside.total:
            self._fire_alloc("full", beside, where, page)
        for name, found in sides:
            if found.total:
                self._fire_alloc(name, found, where)

    def _fire_alloc(self, pool: str, found: Findings, where: str, page: int = 0) -> None:
        """page: its size, where the slot to go on from is what is wrong."""
        self.counts["violations"] += 1
        violations, table = found.violations(limit=64), self.entries.request_table()
        facts: dict[str, object] = {}
        if page and table is not None:
            facts["rows_with_that_page"] = holders(table, violations[0].value, page)
        evidence = Evidence(
            invariant="I20",
            summary=WRONG_LAST_SLOT if page else sentence("I20"),
            where=where,
            pool=pool,
            total=found.total,
            rows_affected=found.rows_affected,
            violations=violations,
            facts=facts,
        )
        dump = Dump(fault=evidence, provenance=provenance())
        raise OutOfBounds(evidence, self.save(dump, OutOfBounds))

    # -- events without a launch -----------------------------------------------------------

    def fire_event(self, evidence: Evidence) -> None:
        """Raise what a ledger or state check found, if its invariant is enabled; `log` logs it."""
        if evidence.invariant not in self.enabled:
            return
        self.counts["violations"] += 1
        error = error_of(evidence.invariant)
        note = self.save(Dump(fault=evidence, provenance=provenance()), error)
        if self.mode == "log":
            logger.error("sglang-triage: %s", error(evidence, note))
            return
        raise error(evidence, note)

    def fire_findings(
        self, found: Findings, invariant: str, summary: str, pool: str, where: str
    ) -> None:
        """The same for findings of a check; one host read, and nothing under a capture."""
        if invariant not in self.enabled or capture.capturing() or not found.total:
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
