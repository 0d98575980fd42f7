"""The check of mode `raise`: read what the kernel is about to receive, and stop before it does.

One table is shared by all layers of one index space, so it is read at its first launch
after the metadata was built, and both spaces of a forward in one host read; what was read
is kept in the forward's memory (`hot_state.py`), where a later layer costs a comparison of
host objects. Modes `contain` and `log`, and every launch recorded into a CUDA graph, go to
`watching.py`, which never reads.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from torch import Tensor

from triage.dump.sections import Dump
from triage.errors import StaleSWAState, TableForm, TrapError
from triage.evidence import Evidence
from triage.invariants.catalogue import error_of, first_of, sentence
from triage.invariants.findings import Findings, read_together
from triage.invariants.geometry import check_workspace
from triage.invariants.reads import IndexSpace, check_form, check_table
from triage.invariants.rows import rows_with_page
from triage.sglang.binding.shell import attempt
from triage.sglang.binding.verdicts import trap_error
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.collect import collect
from triage.sglang.launch.companion_checks import companion_findings
from triage.sglang.launch.entry import Entries, Entry, checked_of
from triage.sglang.launch.freshness import Freshness
from triage.sglang.launch.hot_state import Forward
from triage.sglang.launch.pools import (
    PoolView,
    active_pool,
    is_hybrid,
    num_pages,
    pool_view,
    stale_state,
)
from triage.sglang.launch.watching import Watching
from triage.sglang.reporter import Reporter

logger = logging.getLogger("triage")


class HostTableCheck:
    """Reads tables before their launch.

    Args:
        with_kv: does a dump hold the pages that the launch reads?
        watching: told what was read, so that none of the device is to follow.
    """

    def __init__(
        self,
        reporter: Reporter,
        entries: Entries,
        freshness: Freshness,
        watching: Watching,
        with_kv: bool,
    ) -> None:
        self.reporter = reporter
        self.entries = entries
        self.freshness = freshness
        self.watching = watching
        self.with_kv = with_kv

    def before_launch(self, call: AttentionCall) -> None:
        """Raise a TrapError if this launch would read what it must not.

        Cost: per layer a few attribute reads; at the first launch of a forward one
        host read for both index spaces together.
        """
        self.reporter.counts["launches"] += 1
        entry = self.entries.current
        pool = None if entry is None else active_pool(entry.backend, entry.forward_batch)
        read = pool_view(call, pool, None if entry is None else entry.layer_id)
        part = self.reporter.shells.of
        if "I27" in self.reporter.enabled:
            part("workspace (I27)").part(lambda: self._workspace(call), None)
        stale = None if entry is None else stale_state(entry.backend, pool)
        key = _key(call, read.space)
        forward = None if entry is None else self.entries.forward(entry, pool)
        if forward is not None and key in forward.tables_read:
            self._keep(forward, call, read)
            return
        if entry is not None:
            self.freshness.check(entry.backend, entry.forward_batch)
        form = check_form(
            call.block_tables,
            call.cache_seqlens,
            page_size=call.page_size,
            device_of_kernel=call.query.device,
            any_stride=call.any_stride,
            where=self._where(call),
        )
        if form and "I26" in self.reporter.enabled:
            raise trap_error(lambda: self._error(TableForm, form[0], call, entry, read), "I26")
        mine = self._check(call, entry, read)
        sibling = None
        if entry is not None:
            at = entry
            sibling = part("the other pool's table").part(
                lambda: self._sibling(call, at, read), None
            )
        companions = part("lengths, offsets and own slots (I3, I12)").part(
            lambda: companion_findings(call, entry, self.reporter.enabled), []
        )
        read_together([mine, *companions, *([sibling[1]] if sibling else [])])
        self.reporter.counts["tables"] += 1
        self.reporter.counts["host reads"] += 1
        self.watching.checked_by_host(None if entry is None else entry.backend)
        self.watching.note_rows(call, entry)
        for found, state in (*((each, None) for each in companions), (mine, stale)):
            if wrong := self.reporter.wrong(found):
                raise trap_error(
                    partial(self._table_error, found, wrong, state, call, entry, read),
                    next(iter(wrong)),
                )
        if stale is not None and "I2" in self.reporter.enabled:
            self._note_stale(stale)
        if forward is None:
            return
        forward.tables_read.add(key)
        if sibling and not self.reporter.wrong(sibling[1]):
            forward.tables_read.add(sibling[0])
        self._keep(forward, call, read)

    def _keep(self, forward: Forward, call: AttentionCall, read: PoolView) -> None:
        """The launches of further layers are recognised in the wrapper, but for I27 at each."""
        if "I27" not in self.reporter.enabled:
            forward.keep(checked_of(call, read))

    def _check(self, call: AttentionCall, entry: Entry | None, read: PoolView) -> Findings:
        requests = None if entry is None else entry.requests_of(call)
        return check_table(
            call.block_tables,
            call.cache_seqlens,
            read.space,
            window_left=call.window_left,
            q_len=max(call.q_len_per_req, 1),
            cum_seq_lens_q=call.cum_seq_lens_q,
            req_pool_indices=requests,
            req_to_token=None if entry is None or requests is None else entry.req_to_token,
            full_to_swa=read.full_to_swa,
        )

    def _workspace(self, call: AttentionCall) -> None:
        """I27: newer releases pass the split-K counters apart, older keep them in the workspace."""
        counters = call.arguments.get("multi_ctas_kv_counter_buffer")
        if counters is None:
            counters = call.arguments.get("workspace_buffer")
        if isinstance(counters, Tensor):
            found = check_workspace(counters)
            self.reporter.fire_findings(found, "I27", sentence("I27"), "", self._where(call))

    def _sibling(
        self, call: AttentionCall, entry: Entry, read: PoolView
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
        return _key(other, space), self._check(other, entry, PoolView(read.pool, space, mapping))

    def _table_error(
        self,
        found: Findings,
        counts: dict[str, int],
        stale: str | None,
        call: AttentionCall,
        entry: Entry | None,
        read: PoolView,
    ) -> TrapError:
        first = first_of(counts)
        violations = attempt("listing the offenders", found.violations, ())
        seen = [v for v in violations if v.invariant in counts]
        seen.sort(key=lambda v: (v.invariant != first, v.row, v.column))
        facts: dict[str, object] = {"counts": counts}
        if entry is None or entry.requests_of(call) is None:
            facts["identity"] = "not asked: rows are not known to be the batch's requests"
        table = None if entry is None else entry.req_to_token
        if first == "I20" and table is not None and seen:
            facts["rows_with_that_page"] = attempt(
                "finding who holds the page",
                lambda: rows_with_page(
                    table, seen[0].value, call.page_size, seen[0].req_pool_index
                ),
                None,
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
        kind = error_of(first) if stale is None else StaleSWAState
        return self._error(kind, evidence, call, entry, read)

    def _error(
        self,
        error: type[TrapError],
        evidence: Evidence,
        call: AttentionCall,
        entry: Entry | None,
        read: PoolView,
    ) -> TrapError:
        self.reporter.note_violation(evidence.invariant)
        launches, with_kv = self.reporter.counts["launches"], self.with_kv
        dump = attempt(
            "collecting the launch",
            lambda: collect(evidence, call, entry, read, launches, with_kv=with_kv),
            Dump(fault=evidence),
        )
        return self.reporter.failure(error, dump)

    def _where(self, call: AttentionCall) -> str:
        kind = "decode" if "decode" in call.api else "context"
        return f"{kind} launch {self.reporter.counts['launches']}"

    def _note_stale(self, stale: str) -> None:
        """Stale state with right ids: both pools happen to have handed out the same pages.

        It is an error already, but the launch is harmless and has no wrong entry to
        show. The first launch with one raises StaleSWAState and dumps the rows.
        """
        if not self.reporter.counts["forwards with stale SWA state, ids still right"]:
            logger.error(
                "sglang-triage: %s; ids still agree, stopping at the first wrong one", stale
            )
        self.reporter.counts["forwards with stale SWA state, ids still right"] += 1


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
