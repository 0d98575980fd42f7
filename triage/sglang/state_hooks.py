"""Where the ledger, the write check and the state checks stand in each release of SGLang.

Targets are looked up, never assumed: what a release does not have is listed in
`absent` with the reason, and `triage doctor` prints it. Everything here calls
pure checks and reports through `Traps.fire_event`.

Long because it is the list of places: which hook stands where for which invariant.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Generator, Mapping
from typing import Any

from triage.device import capture
from triage.evidence import Evidence
from triage.invariants.catalogue import LEDGER, READS_DEVICE
from triage.invariants.mapping import check_translation
from triage.invariants.spec import check_restored
from triage.sglang.allocator import path_locks
from triage.sglang.allocator.allocation_checks import AllocationChecks
from triage.sglang.allocator.cached_window import (
    ADD_NODE,
    CHECKPOINT,
    FINISHED,
    UNFINISHED,
    CachedWindow,
)
from triage.sglang.allocator.frontier import BATCH, COMMON, EXTEND, RETRACT, Frontier
from triage.sglang.allocator.inserts import Inserts
from triage.sglang.allocator.last_loc_checks import RowsWritten
from triage.sglang.allocator.late_audit import PREPARE, LateAudit
from triage.sglang.allocator.ledger_hooks import LedgerHooks
from triage.sglang.allocator.locked_overlap import CACHE as UNIFIED_CACHE
from triage.sglang.allocator.locked_overlap import OVERLAP, LockedOverlap
from triage.sglang.allocator.page_histories import PageHistories
from triage.sglang.allocator.pool_sums import PoolSums
from triage.sglang.allocator.prefix_owned import PrefixOwned, caching_targets
from triage.sglang.allocator.step_books import SCHEDULER_STEP, StepBooks
from triage.sglang.allocator.tree import CACHES, OPERATIONS, TreeTrap
from triage.sglang.binding.hooks import Around, Hook
from triage.sglang.binding.names import (
    REQUEST_ROWS,
    request_rows,
    sub_allocator_paths,
    swa_allocator_path,
)
from triage.sglang.binding.patches import Patch
from triage.sglang.binding.shell import Before, Behind
from triage.sglang.launch.attention import GRAPH_ENTRIES
from triage.sglang.launch.draft_graphs import (
    DRAFT_GRAPHS,
    ENTRIES,
    EXTEND_GRAPHS,
    FROZEN_GRAPHS,
    MULTI_LAYER_GRAPHS,
    MULTI_LAYER_PREPARE,
    PREPARED,
    RECORDED,
    DraftGraphs,
)
from triage.sglang.launch.draft_graphs import REPLAYS as REPLAY_CALLS
from triage.sglang.launch.graph_inputs import BUFFERS, REGISTRY, GraphInputs
from triage.sglang.launch.metadata import Metadata
from triage.sglang.launch.plain_writes import PlainWrites
from triage.sglang.launch.pools import is_hybrid
from triage.sglang.launch.sizes_at_start import WHY as SIZES
from triage.sglang.launch.sizes_at_start import SizesAtStart
from triage.sglang.launch.state_at_start import WHY as STATE
from triage.sglang.launch.state_at_start import StateAtStart
from triage.sglang.launch.writes import WriteTrap
from triage.sglang.reporter import (
    CACHED_WINDOW,
    DRAFT_INPUTS,
    HOST_TRANSFERS,
    LATE_AUDIT,
    LEDGER_KEPT,
    LOCKED_OVERLAP,
    METADATA,
    POOL_SUMS,
    STEP_BOOKS,
    WRITES,
)
from triage.sglang.scheduler import kv_sends
from triage.sglang.scheduler.admission import BUDGET, HOST_CACHE, Admission, pairing_targets
from triage.sglang.scheduler.host_transfers import HostTransfers
from triage.sglang.scheduler.host_transfers import targets as host_transfer_targets
from triage.sglang.scheduler.prebuilt import PREPARE as PREBUILT
from triage.sglang.scheduler.prebuilt import Prebuilt
from triage.sglang.scheduler.scheduling import SCHEDULER
from triage.sglang.traps import Traps

PAGES_TRACKED = LEDGER & READS_DEVICE
"""Need the ledger of pages; a failed allocation (I7) shows in counts alone."""

BACKEND = "sglang.srt.layers.attention.trtllm_mha_backend.TRTLLMHAAttnBackend"
FLASHINFER_BACKEND = "sglang.srt.layers.attention.flashinfer_backend.FlashInferAttnBackend"
POOL = "sglang.srt.mem_cache.swa_memory_pool.SWAKVPool"
ROWS = REQUEST_ROWS
VIEWS = "sglang.srt.speculative.frozen_kv_mtp_utils"

RESERVES = tuple(
    f"sglang.srt.speculative.{module}.alloc_for_spec_decode"
    for module in ("eagle_utils", "dflash_info_v2", "uno_info")
)
"""0.5.18 and later, imported by name: what a decode step may write is put into its rows here."""

_FUSED_STORES = (
    f"{BACKEND}._fused_fp8_qkv_kv_cache",  # 0.5.18 and later
    f"{BACKEND}._fused_fp8_set_kv_buffer",
)
REPLAYS = (
    "init_forward_metadata_out_graph",  # 0.5.13.post1 and later
    "init_forward_metadata_replay_cuda_graph",  # 0.5.12.post1
)
_SWA_STATE = ("token_to_kv_pool", "_swa_kv_pool", "use_sliding_window_kv_pool")
PAGES_OUT = ("alloc", "alloc_extend", "alloc_decode")
PAGES_BACK = ("free", "free_segment", "free_page_ids")
PAGES_RESET = ("free_group_end", "clear", "restore_state")
"""Every way into an allocator of one pool; `tests/ledger/test_entries.py` reads the wheels."""

PROMPTS = ("alloc_extend", "alloc_extend_swa_tail")
ALLOCS = ("alloc", "alloc_decode", *PROMPTS)
_FREES = (
    "free",
    "free_swa",
    "free_segment",
    "free_swa_segment",
)


class StateHooks:
    """The hooks of the families beyond `reads`. `absent`: target -> why this release has none."""

    def __init__(self, traps: Traps, every: int = 1, page_history: bool = False) -> None:
        """Args:
        every: steps per check that walks a pool, a tree or all tables.
        page_history: note whose hand was on each page.
        """
        self.reporter, self.entries = traps.reporter, traps.launches.entries
        self.histories: PageHistories | None = None
        if page_history:
            self.histories = PageHistories(lambda: traps.steps.current)
        self.absent: dict[str, str] = {}
        self.books = LedgerHooks(self.reporter.fire_event, every, self.reporter.holders.requests)
        self.step_books = StepBooks(self.reporter, self.books, every, self.absent)
        self.sums = PoolSums(lambda: self.reporter.holders, self.reporter.log_event)
        self.audit = LateAudit(self.reporter.log_event, lambda: traps.steps.current)
        self.writes = WriteTrap(traps.launches)
        self.plain_writes = PlainWrites(self.writes)
        self.trees = TreeTrap(self.reporter, self.books, every)
        self.inserts = Inserts(self.books)
        self.prefix_owned = PrefixOwned(lambda: self.reporter.holders.scheduler, self._told)
        self.locked_overlap = LockedOverlap(self._told_locked)
        self.cached_window = CachedWindow(self.reporter)
        self.metadata = Metadata(traps.launches, every)
        self.allocation_checks = AllocationChecks(self.reporter, self.books)
        self.rows_written = RowsWritten(self.reporter, self.entries)
        self.frontier = Frontier(self.reporter)
        self.prebuilt = Prebuilt(self.reporter)
        self.graph_inputs = GraphInputs(self.reporter)
        self.admission = Admission(self.reporter)
        self.transfers = HostTransfers(self.reporter.fire_event)
        self.sends = kv_sends.KVSends(self.reporter.fire_event)
        self.draft_graphs = DraftGraphs(self.reporter, self.entries)
        self.sizes = SizesAtStart(self.reporter)
        self.state = StateAtStart(self.reporter)
        self._locked_told = False

    def restart(self) -> None:
        self.books.restart()
        self.audit.restart()
        self.sums.restart()
        self.transfers.restart()
        self.sends.restart()
        self.prefix_owned.restart()
        self.locked_overlap.restart()
        self._locked_told = False
        self.allocation_checks.restart()
        self.step_books.restart()
        self.cached_window.restart()
        self.writes.restart()
        self.sizes.restart()
        self.state.restart()
        if self.histories is not None:
            self.histories.restart()
            self.reporter.keep_histories(self.histories.of)

    def _told(self, found: Evidence) -> None:
        """What is asked for is raised; what is on by default, and new, is logged, once."""
        if self.reporter.whole(found.invariant):
            self.reporter.fire_event(found)
        elif self.prefix_owned.first():
            self.reporter.log_event(found)

    def _told_locked(self, found: Evidence) -> None:
        """As `_told`; where the family is asked for, the ledger has raised it at the free."""
        if self.reporter.whole("I17"):
            self.reporter.fire_event(found)
        elif not self._locked_told:
            self._locked_told = True
            self.reporter.log_event(found)

    def hooks(self) -> list[Hook]:
        """Everything this release can be watched at, for the invariants that are enabled."""
        enabled = self.reporter.enabled
        if not self.reporter.reads_device:
            in_part = self.reporter.in_part
            for name in sorted(enabled & READS_DEVICE - in_part):
                self.absent[name] = f"mode {self.reporter.mode} reads nothing back, {name} would"
            enabled = enabled - (READS_DEVICE - in_part)
        tracked = (enabled - self.reporter.in_part) & PAGES_TRACKED
        found: list[Hook] = []
        if tracked:
            found += self._ledger_hooks()
        elif enabled & PAGES_TRACKED:
            found += self._late_audit_hooks()
        if "I17" in enabled:
            caching = dict.fromkeys(caching_targets(), self.prefix_owned.around_caching)
            found += self._any_of(caching, "what its tree has, a cache does not free (I17)")
            found += self._locked_overlap_hooks()
        if "I7" in enabled:
            found += self._swa_hooks(
                ALLOCS,
                self.books.around_swa_alloc,
                "a failed allocation keeps nothing (I7)",
            )
        if "I3" in enabled:
            self.writes.launches.on_backend = self.plain_writes.built_over
            found += self._any_of(
                dict.fromkeys(_FUSED_STORES, self.writes.around_fused),
                "slots a fused store writes (I3)",
                captured=True,
            )
            if self.reporter.reads_device:
                found += self._present(
                    PREBUILT, self.prebuilt.around_prepare, "slots of a prebuilt batch (I3)"
                )
        found += self._step_hooks(enabled)
        if self.reporter.reads_device and (self.reporter.whole("I16") or tracked):
            for cache in CACHES:
                for name in OPERATIONS:
                    found += self._present(
                        f"{cache}.{name}", self.trees.around, "radix tree (I16)", captured=True
                    )
        if "I17" in tracked:
            for cache in CACHES:
                found += self._present(
                    f"{cache}.insert",
                    self.inserts.around_insert,
                    "what a lock keeps is not freed (I17)",
                    captured=True,
                )
        if "I16" in enabled:
            found += self._cached_window_hooks()
        if "I9" in enabled:
            found += self._present(
                f"{POOL}.translate_loc_from_full_to_swa", self._translated, "translation (I9)"
            )
        if "I23" in enabled:
            for view in ("frozen_kv_target_view", "target_kv_pool_view"):
                found += self._present(
                    f"{VIEWS}.{view}", self._viewed, "views restored (I23)", context=True
                )
        if "I29" in enabled:
            found += self._recorded_view_hooks()
        if self.reporter.whole("I29") and self.reporter.reads_device:
            found += self._draft_graph_hooks()
        if "I2" in enabled:
            for backend in (BACKEND, FLASHINFER_BACKEND):
                found += self._present(
                    f"{backend}.__init__", self.state.around_backend, STATE, captured=True
                )
        if "I19" in enabled:
            found += self._present(f"{BACKEND}.__init__", self.sizes.around_backend, SIZES)
            found += self._present(f"{SCHEDULER}.run_event_loop", self.sizes.around_loop, SIZES)
        # The first is outermost: the ledger says who freed a page before I15 sees the hole.
        return [*self._state_hooks(enabled), *found]

    def history_hooks(self) -> tuple[list[Hook], list[Hook]]:
        """Whose hand was on a page: hooks outside of the checks, and inside of them.

        A free is noted before it is judged, and so is what an allocation returned.
        """
        histories, why = self.histories, "whose hand (page history)"
        if histories is None:
            return [], []
        shell = self.reporter.keep_histories(histories.of)

        def beside(before: Before, behind: Behind = _nothing) -> Around:
            return shell.beside(before, behind, self.reporter)

        outside: list[Hook] = []
        inside: list[Hook] = []
        alloc = beside(histories.before_alloc, histories.behind_alloc)
        for owner in sub_allocator_paths():
            back = dict.fromkeys(PAGES_BACK, beside(histories.before_free, histories.behind_free))
            back["free_page_ids"] = beside(histories.before_free_of_pages, histories.behind_free)
            back["free_group_end"] = beside(histories.before_group_end, histories.behind_free)
            back |= dict.fromkeys(("clear", "restore_state"), beside(histories.before_clear))
            outside += self._looking_on(_at(owner, back), why)
            inside += self._looking_on(_at(owner, dict.fromkeys(PAGES_OUT, alloc)), why)
        ends = histories.behind_hybrid
        hybrid = dict.fromkeys(ALLOCS, beside(histories.before_hybrid_alloc, ends))
        for name in _FREES:
            freed = histories.before_hybrid_free
            hybrid[name] = beside(
                histories.before_hybrid_free_swa if "swa" in name else freed, ends
            )
        hybrid["free_group_end"] = beside(
            histories.before_hybrid_group_end, histories.behind_hybrid_group_end
        )
        hybrid["set_full_to_swa_mapping"] = beside(histories.before_mapping)
        outside += self._looking_on(_at(swa_allocator_path(), hybrid), why)
        insert = beside(histories.before_insert)
        outside += self._looking_on({f"{cache}.insert": insert for cache in CACHES}, why)
        return outside, inside

    def _state_hooks(self, enabled: frozenset[str]) -> list[Hook]:
        """The checks that read SGLang's own numbers, beside the ledger."""
        found: list[Hook] = []
        if enabled & {"I8", "I14"}:
            grows = self.reporter.whole("I14") or "I8" in enabled
            names = ALLOCS if grows else PROMPTS  # who decodes is judged at its launch too (I26)
            found += self._swa_hooks(
                names, self.allocation_checks.around_alloc, "what was handed out (I8, I14)"
            )
        # A host read a call: not by default.
        if "I20" in enabled and (enabled - self.reporter.in_part) & PAGES_TRACKED:
            found += self._present(
                f"{ROWS}.write", self.rows_written.around_write, "what is written into a row (I20)"
            )
        if "I14" in enabled:
            found += self._present(
                f"{ROWS}.alloc", self.allocation_checks.around_row_alloc, "tables by request (I14)"
            )
        if "I15" in enabled:
            why = "the window's frontier (I15)"
            found += self._any_of(
                {COMMON: self.frontier.around_function, BATCH: self.frontier.around_method}, why
            )
            found += self._present(RETRACT, self.frontier.around_retract, "retraction (I15)")
            found += self._present(
                EXTEND, self.frontier.around_extend, "the window of a prefill (I15)", captured=True
            )
        if enabled & {"I11", "I13", "I15", "I22"}:
            found += self._present(
                f"{BACKEND}.init_forward_metadata",
                self.metadata.around_eager,
                "metadata when it is built (I11, I13, I15, I22)",
                captured=True,
            )
            found += self._any_of(
                {f"{BACKEND}.{entry}": self.metadata.around_graph for entry in GRAPH_ENTRIES},
                "a graph's metadata (I11, I13)",
                captured=True,
            )
        if "I21" in enabled:
            found += self._present(
                f"{BACKEND}.__init__", self.metadata.around_init, "slots and offsets fit (I21)"
            )
        if "I10" in enabled:
            found += self._any_of(
                {
                    BUFFERS: self.graph_inputs.around_buffers,
                    REGISTRY: self.graph_inputs.around_registry,
                },
                "padding of a graph's inputs (I10)",
            )
        if "I25" in enabled:
            found += self._present(BUDGET, self.admission.around_budget, "admission (I25)")
        if "I24" in enabled:
            for target in pairing_targets():
                found += self._present(target, self.admission.around_pairing, "KV transfer (I24)")
            for name in ("load", "write"):
                found += self._present(
                    f"{HOST_CACHE}.{name}", self.admission.around_host_cache, "host cache (I24)"
                )
            targets = host_transfer_targets()
            if "around_free" not in targets.values():
                self.absent["host pools of HiCache"] = f"{HOST_TRANSFERS}: not to be imported here"
            for target, name in targets.items():
                around = getattr(self.transfers, name)
                found += self._present(target, around, HOST_TRANSFERS, captured=True)
        if "I24" in enabled and "I17" in enabled - self.reporter.in_part:
            found += self._send_hooks()
        return found

    def patches(self) -> list[Patch]:
        """What every layer calls; see `patches.py`."""
        if "I3" not in self.reporter.enabled:
            return []
        return [Patch(f"{POOL}.set_kv_buffer", self.writes.around, "slots a forward writes (I3)")]

    # -- which hooks ---------------------------------------------------------------------

    def _step_hooks(self, enabled: frozenset[str]) -> list[Hook]:
        """What must balance between two steps, of what is asked for as a whole."""
        step, found = self.step_books, []
        whole = enabled - self.reporter.in_part
        step.keeps_ledger = bool(whole & PAGES_TRACKED)
        step.asked = bool(whole & {"I15", "I16", "I29"}) or step.keeps_ledger
        if "I16" in whole and path_locks.core_is_compiled():
            self.absent.update([path_locks.NOT_COVERED])
        if step.asked:  # a walk over requests: not by default
            why = "books between two steps (I7, I14, I15, I16, I29)"
            found += self._present(SCHEDULER_STEP, step.around_step, why)
            if not enabled & PAGES_TRACKED:  # a ledger of pages hooks the rows anyway
                found += self._present(
                    f"{ROWS}.alloc", self.books.around_row_alloc, "rows of the table (I14)"
                )
        if "I7" in enabled:  # inside: the ledger's balance, which names the pages, is asked first
            step.sums, why = self.sums, "counts of the pools add up (I7)"
            found += self._looking_on({SCHEDULER_STEP: self.around_run_batch()}, why)
        if "I14" in whole:
            for rows in request_rows():
                found += self._present(
                    f"{rows}.write", step.around_write, "a write past the row (I14)", captured=True
                )
        if "I14" in enabled:
            reserves = dict.fromkeys(RESERVES, self.allocation_checks.around_reserve)
            found += self._any_of(reserves, "a draft's reserve past the row (I14)")
            for target in RESERVES:  # a release that has none grows its rows by other calls
                self.absent.pop(target, None)
        if step.keeps_ledger:
            for owner in (swa_allocator_path(), *sub_allocator_paths()):
                failed = dict.fromkeys(ALLOCS, step.around_failed_alloc)
                found += self._any_of(_at(owner, failed), "what a full pool is held by (I7)")
        return found

    def _recorded_view_hooks(self) -> list[Hook]:
        """A release that records no metadata in its graphs builds them once, and has no second."""
        graphs, why = self.draft_graphs, "the view that a graph's metadata are recorded for (I29)"
        recorded = f"{BACKEND}.{RECORDED}"
        found = self._present(recorded, graphs.around_recorded, why, captured=True)
        self.absent.pop(recorded, None)
        if found:
            prepared = f"{BACKEND}.{PREPARED}"
            found += self._present(prepared, graphs.around_prepared, why, captured=True)
        return found

    def _cached_window_hooks(self) -> list[Hook]:
        """Of a tree's caching what is host integers: on by default."""
        window, why = self.cached_window, "what a request caches is not evicted (I16)"
        found = self._present(ADD_NODE, window.around_add_node, why, captured=True)
        self.absent.pop(ADD_NODE, None)  # the unified tree makes its nodes elsewhere
        around = {
            FINISHED: window.around_finished,
            UNFINISHED: window.around_unfinished,
            CHECKPOINT: window.around_unfinished,
            "insert": window.around_insert,
        }
        for cache in CACHES:
            found += self._any_of(_at(cache, around), why, captured=True)
        return found

    def _locked_overlap_hooks(self) -> list[Hook]:
        overlap, why = self.locked_overlap, "what a lock keeps is not freed by an insert (I17)"
        found = self._present(OVERLAP, overlap.around_overlap, why, captured=True)
        if not found:
            return []
        target = f"{UNIFIED_CACHE}.insert"
        return found + self._present(target, overlap.around_insert, why, captured=True)

    def _draft_graph_hooks(self) -> list[Hook]:
        graphs, found = self.draft_graphs, []
        why = "what a draft's graph is fed (I29)"
        for runner in (DRAFT_GRAPHS, EXTEND_GRAPHS, FROZEN_GRAPHS, MULTI_LAYER_GRAPHS):
            entries = {f"{runner}.{name}": graphs.around_entry for name in ENTRIES}
            if runner == MULTI_LAYER_GRAPHS:  # its `replay` is another thing in later releases
                entries = {MULTI_LAYER_PREPARE: graphs.around_prepare}
            found += self._any_of(entries, why, captured=True)
            replays = {f"{runner}.{name}": graphs.around_replay for name in REPLAY_CALLS}
            found += self._any_of(replays, why, captured=True)
        return found

    def _ledger_hooks(self) -> list[Hook]:
        books, found = self.books, []
        for owner in sub_allocator_paths():
            for name in PAGES_OUT:
                found += self._present(f"{owner}.{name}", books.around_alloc, "ledger: pages out")
            for name in PAGES_BACK:
                found += self._present(f"{owner}.{name}", books.around_free, "ledger: pages back")
            resets = (books.around_group_end, books.around_clear, books.around_restore)
            for name, around in zip(PAGES_RESET, resets, strict=True):
                found += self._present(f"{owner}.{name}", around, "ledger: pages reset")
        found += self._swa_hooks(_FREES, books.around_swa_free, "mapping is cleared (I6)")
        found += self._swa_hooks(
            ("free_group_end",), books.around_swa_group_end, "what a free group kept (I6)"
        )
        found += self._present(f"{ROWS}.alloc", books.around_row_alloc, "ledger: rows out (I17)")
        found += self._present(f"{ROWS}.free", books.around_row_free, "ledger: rows back (I17)")
        found += self._present(
            f"{BACKEND}.init_forward_metadata", self._forward, "ledger: step boundary (I4, I5, I17)"
        )
        return found + self._any_of(
            dict.fromkeys((f"{BACKEND}.{entry}" for entry in REPLAYS), self._replayed),
            "ledger: step boundary of a graph's replay (I4, I5, I17)",
        )

    def _send_hooks(self) -> list[Hook]:
        """A prefill server's sends against the rows that are given back; not by default."""
        sends, why = self.sends, "rows that are being sent (I24)"
        found = self._present(kv_sends.SEND, sends.around_send, why)
        found += self._present(kv_sends.QUEUE, sends.around_queue, why)
        return found + self._present(f"{ROWS}.free", sends.around_row_free, why)

    def _late_audit_hooks(self) -> list[Hook]:
        """What of the ledger waits for nothing: rows at once, pages some steps late."""
        books, audit = self.books, self.audit
        why = "pages held and free, told late (I5, I17)"
        shell = self.reporter.group(LATE_AUDIT)
        prepare = shell.beside(audit.before_prepare, audit.behind_prepare, self.reporter)
        found = self._looking_on({PREPARE: prepare}, why)
        found += self._present(f"{ROWS}.alloc", books.around_row_alloc, "rows out (I17)")
        return found + self._present(f"{ROWS}.free", books.around_row_free, "rows back (I17)")

    def _swa_hooks(self, names: tuple[str, ...], around: Any, why: str) -> list[Hook]:
        owner, found = swa_allocator_path(), []
        for name in names:
            found += self._present(f"{owner}.{name}", around, why)
        return found

    def _present(
        self,
        target: str,
        around: Callable[..., Any],
        why: str,
        *,
        captured: bool = False,
        context: bool = False,
    ) -> list[Hook]:
        """captured: it reads nothing of the device, and has to stand under a capture too.

        context: the same, of a target that returns a context manager.
        """
        if not self._has(target, why):
            return []
        group = self._group_of(around, why)
        if not context:
            around = (self._armed if captured else self._outside)(around)
        return [Hook(target, around, why, context, group)]

    def _group_of(self, around: Any, why: str) -> str:
        """The hooks that share what this one keeps; a check that keeps nothing is one alone."""
        if around in (self._forward, self._replayed):
            return LEDGER_KEPT
        kept = (
            (self.books, LEDGER_KEPT),
            (self.transfers, HOST_TRANSFERS),
            (self.trees, LEDGER_KEPT),
            (self.inserts, LEDGER_KEPT),
            (self.step_books, STEP_BOOKS),
            (self.cached_window, CACHED_WINDOW),
            (self.locked_overlap, LOCKED_OVERLAP),
            (self.draft_graphs, DRAFT_INPUTS),
            (self.metadata, METADATA),
            (self.writes, WRITES),
        )
        return next((group for owner, group in kept if around.__self__ is owner), why)

    def _any_of(
        self, targets: Mapping[str, Callable[..., Any]], why: str, *, captured: bool = False
    ) -> list[Hook]:
        """Those that this release has: a name that changed, not a thing that is missing."""
        found = [
            hook
            for target, around in targets.items()
            for hook in self._present(target, around, why, captured=captured)
        ]
        return self._named_otherwise(targets, found)

    def _looking_on(self, targets: Mapping[str, Around], why: str) -> list[Hook]:
        """As `_any_of`, of hooks that have their shell and ask it whether they are armed."""
        found = [
            Hook(target, around, why, shelled=True)
            for target, around in targets.items()
            if self._has(target, why)
        ]
        return self._named_otherwise(targets, found)

    def _named_otherwise(self, targets: Mapping[str, Any], found: list[Hook]) -> list[Hook]:
        for target in targets if found else ():
            self.absent.pop(target, None)
        return found

    def _has(self, target: str, why: str) -> bool:
        try:
            pkgutil.resolve_name(target)
        except (AttributeError, ImportError):  # the scheduler's needs a server's dependencies
            name = target.rpartition(".")[2]
            self.absent[target] = f"{why}: {name} is not there, or not to be imported here"
            return False
        return True

    def around_run_batch(self) -> Callable[..., Any]:
        """What the default has at `Scheduler.run_batch`."""
        shell = self.reporter.group(POOL_SUMS)
        return shell.beside(self.sums.before_step, _nothing, self.reporter)

    def _armed(self, around: Callable[..., Any]) -> Callable[..., Any]:
        reporter = self.reporter

        def hook(original: Any, *args: Any, **kwargs: Any) -> Any:
            if not reporter.armed:
                return original(*args, **kwargs)
            return around(original, *args, **kwargs)

        return hook

    def _outside(self, around: Callable[..., Any]) -> Callable[..., Any]:
        """It may read the device, so under a capture it goes straight on, whatever the mode.

        What moved meanwhile the ledger did not see: it begins anew from SGLang's free lists.
        """
        reporter = self.reporter

        def hook(original: Any, *args: Any, **kwargs: Any) -> Any:
            if not reporter.armed:
                return original(*args, **kwargs)
            if capture.capturing():
                self.reporter.counts["hooks passed over under capture"] += 1
                self.books.forget()
                return original(*args, **kwargs)
            return around(original, *args, **kwargs)

        return hook

    # -- what stands there beside the ledger ------------------------------------------------

    def _forward(self, original: Any, backend: Any, forward_batch: Any, *args: Any) -> Any:
        """Before a target's metadata nothing is half done; after it the rows are known."""
        pool = getattr(backend, "token_to_kv_pool", None) or forward_batch.token_to_kv_pool
        allocator = self.entries.allocator_of(pool) if is_hybrid(pool) else None
        if allocator is not None:
            self.books.boundary(allocator)
        result = original(backend, forward_batch, *args)
        metadata = backend.forward_metadata
        if allocator is not None and metadata.cache_seqlens_int32 is not None:
            self.books.forward(
                allocator,
                forward_batch.req_pool_indices,
                metadata.cache_seqlens_int32,
                backend.req_to_token,
            )
        return result

    def _replayed(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        """The same before a replay. A capture's rows are nobody's and passed over.

        The lengths are the scheduler's, without what the mode adds: later releases refill
        the graph's own inside the graph.
        """
        given = inspect.signature(original).bind(backend, *args, **kwargs).arguments
        batch = given.get("forward_batch")
        pool = getattr(backend, "token_to_kv_pool", None) or getattr(backend, "_swa_kv_pool", None)
        allocator = self.entries.allocator_of(pool) if is_hybrid(pool) else None
        if allocator is None or given.get("in_capture") or capture.capturing():
            return original(backend, *args, **kwargs)
        self.books.boundary(allocator)
        result = original(backend, *args, **kwargs)
        rows = int(given["bs"] if batch is None else batch.batch_size)
        requests, lengths = (
            given[name] if batch is None else getattr(batch, name)
            for name in ("req_pool_indices", "seq_lens")
        )
        self.books.forward(
            allocator,
            requests[:rows],
            lengths[:rows],
            backend.req_to_token,
            real_rows=self.draft_graphs.real_rows,
        )
        return result

    def _translated(self, original: Any, pool: Any, kv_indices: Any) -> Any:
        result = original(pool, kv_indices)
        mapping = getattr(pool, "full_to_swa_index_mapping", None)
        if mapping is not None and kv_indices.numel():
            found = check_translation(kv_indices.reshape(-1), result.reshape(-1), mapping)
            self.reporter.fire_findings(
                found, "I9", "the translation is not what the mapping says", "swa", "translate"
            )
        return result

    def _viewed(self, original: Any, *args: Any, **kwargs: Any) -> Generator[None, Any, None]:
        """Beside a view: what it swapped is to be as it was once it is left."""
        if not self.reporter.armed:
            return
        given = inspect.signature(original).bind(*args, **kwargs).arguments
        holders: dict[str, Any] = {
            name: given[name] for name in ("draft_attn_backend", "forward_batch") if name in given
        }
        before = _state(holders)
        yield
        yield
        yield
        found = check_restored(before, _state(holders), where=original.__name__)
        if found is not None:
            self.reporter.fire_event(found)


def _nothing(_: Any, __: Any) -> None:
    """Behind a hook that is done before SGLang's call."""


def _at(owner: str, methods: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {f"{owner}.{name}": around for name, around in methods.items()}


def _state(holders: dict[str, Any]) -> dict[str, object]:
    """What a view swaps for its duration, by name and object."""
    return {
        f"{name}.{attribute}": getattr(holder, attribute)
        for name, holder in holders.items()
        for attribute in (*_SWA_STATE, "_swa_full_to_swa_mapping", "spec_info")
        if hasattr(holder, attribute)
    }
