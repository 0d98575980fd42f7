"""Watching without waiting: modes `contain` and `log`, and every launch under graph capture.

The failure: a check that waits for the device costs two syncs a layer and is
blind under CUDA graphs, so nobody leaves it on. The rule: one check and one
recording per index space and forward, launched at the FlashInfer call itself, so
that a capture records them between the refill of the table and the attention;
per layer only host comparisons. What the checks found comes to the host with the
step's mark (`triage/steps.py`).

In `contain` the launch is given the checked copy of its table, in which offending
entries name the dummy page; in `log` it is given what SGLang passed.

Not covered: launches of one process on two streams at once, a launch whose form
the checker does not know (counted under its reason, never as clean), and I12
against the forward batch's own lengths, which only mode `raise` has.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from triage import capture
from triage.call import AttentionCall
from triage.device import CheckRefused
from triage.errors import InstallError
from triage.instruments import Instruments
from triage.invariants.reads import IndexSpace, check_form
from triage.sglang.entry import Entry
from triage.sglang.pools import Reading, active_pool, is_hybrid, reading, stale_state

if TYPE_CHECKING:
    from triage.traps import Traps

logger = logging.getLogger("triage")

_NOTHING: dict[int, tuple[int, bool]] = {}


@dataclass(slots=True)
class Checked:
    """The newest check of one index space, and what a later launch must share with it.

    Tensors and objects are compared by identity: a forward hands the same ones to
    every layer. `safe` is what the launch must be given instead, None in mode `log`.
    """

    table: Tensor
    lengths: Tensor
    cumulative: Tensor | None
    q_len: int | None
    window: int
    pages: int
    backend: Any
    metadata: Any
    forward_batch: Any
    pool: Any
    layers: Mapping[int, tuple[int, bool]]
    slides: bool
    graph: int
    call: AttentionCall
    entry: Entry | None
    read: Reading
    tag: int
    safe: dict[str, Tensor] | None

    def holds_for(self, arguments: Mapping[str, Any], inside: tuple[Any, Any, Any] | None) -> bool:
        """Is this launch another layer's of the same forward? Host comparisons only."""
        if arguments["block_tables"] is not self.table or arguments["seq_lens"] is not self.lengths:
            return False
        if arguments.get("window_left", -1) != self.window:
            return False
        if arguments.get("q_len_per_req") != self.q_len:
            return False
        if arguments.get("cum_seq_lens_q") is not self.cumulative or inside is None:
            return False
        backend, layer, forward_batch = inside
        if backend is not self.backend or forward_batch is not self.forward_batch:
            return False
        if backend.forward_metadata is not self.metadata:
            return False
        if active_pool(backend, forward_batch) is not self.pool:
            return False
        if self.layers.get(layer.layer_id, (0, False))[1] != self.slides:
            return False
        cache = arguments["kv_cache"]
        return (cache[0] if type(cache) is tuple else cache).shape[0] == self.pages


class Watch:
    """The device-side checks of one process.

    Args:
        traps: counts, enabled invariants, entries and dumps are its own.
        contain: give the launch a checked copy; else it gets what SGLang passed.
        strict: refuse to start where nothing could be checked.
    """

    def __init__(self, traps: Traps, *, contain: bool, strict: bool = True) -> None:
        self.traps = traps
        self.contain = contain
        self.strict = strict
        self.counts = traps.counts
        self.instruments: Instruments | None = None
        self.refused: Counter[str] = Counter()
        self._newest: dict[str, Checked] = {}
        self._graph = 0
        self._captures = 0
        self._expected = False

    def restart(self) -> None:
        """As in a new process; the instruments of the last one are dropped."""
        self.instruments = None
        self.refused.clear()
        self._newest.clear()
        self._graph = self._captures = 0
        self._expected = False

    # -- arming ------------------------------------------------------------------------

    def prepare(self, backend: Any) -> None:
        """Take all memory, at the first backend's construction; later backends share it.

        Raises InstallError where the form of `backend` is not known and `strict` is
        set; else every launch is counted as not covered.
        """
        if self.instruments is not None:
            return
        window = self.traps.entries.origin_of(backend).sliding_window
        try:
            self.instruments = Instruments.of(backend, window, contain=self.contain)
        except CheckRefused as refusal:
            if self.strict:
                raise InstallError(f"launches cannot be checked: {refusal}") from refusal
            self.refused[str(refusal)] += 1
            logger.error("sglang-triage: launches are NOT covered: %s", refusal)
            return
        recorder = self.instruments.recorder
        logger.info(
            "sglang-triage: watching %s; recorder %.1f MiB host, %.1f MiB device",
            self.instruments.checker.device,
            recorder.host_bytes / 2**20,
            recorder.device_bytes / 2**20,
        )

    def forget(self, backend: Any, *, expect: bool = True) -> None:
        """New metadata, or the same refilled: its tables are to be checked again.

        expect: a check on the device is to follow, or the heartbeat stops.
        """
        self._expected = self._expected or expect
        for name, checked in list(self._newest.items()):
            if checked.backend is backend:
                del self._newest[name]

    def forward_done(self) -> bool:
        """The target's forward has been launched; was metadata built for it, so that a check ran?

        What was kept to recognise its later layers is let go.
        """
        self._newest.clear()
        expected, self._expected = self._expected, False
        return expected

    # -- the launch --------------------------------------------------------------------

    def before_launch(self, api: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Check and record the launch unless a layer before did; what it must be given instead.

        Cost: per layer a dozen host comparisons; at the first launch of an index
        space one check and one recording. No sync, no allocation, legal under capture.
        """
        self.counts["launches"] += 1
        graph = self._graph_now()
        inside = self.traps.entries.inside.call
        for checked in self._newest.values():
            if checked.graph == graph and checked.holds_for(arguments, inside):
                return checked.safe
        return self._check(AttentionCall(api, arguments), graph)

    def _graph_now(self) -> int:
        """0 outside capture, else a number per capture: warm-up launches do not count for it."""
        if not capture.capturing():
            self._graph = 0
        elif self._graph == 0:
            self._captures += 1
            self._graph = self._captures
        return self._graph

    def _check(self, call: AttentionCall, graph: int) -> Mapping[str, Any] | None:
        instruments = self.instruments
        if instruments is None:
            self._not_covered("nothing was armed before the first launch")
            return None
        entry = self.traps.entry
        pool = None if entry is None else active_pool(entry.backend, entry.forward_batch)
        read = reading(call, pool, None if entry is None else entry.layer_id)
        if "I26" in self.traps.enabled:
            self._check_form(call, read)
        tag = instruments.recorder.tag(**_facts(call, entry, read, graph))
        try:
            safe = self._launch(instruments, call, entry, read, tag)
        except CheckRefused as refusal:
            self._not_covered(str(refusal))
            return None
        self.counts["tables"] += 1
        self.counts["tables under capture"] += graph > 0
        self._newest[read.space.name] = _checked(call, entry, read, tag, graph, safe)
        return safe

    def _launch(
        self,
        instruments: Instruments,
        call: AttentionCall,
        entry: Entry | None,
        read: Reading,
        tag: int,
    ) -> dict[str, Tensor] | None:
        rows = entry is not None and entry.rows_match(call)
        requests = entry.req_pool_indices if rows and entry is not None else None
        known = "I2" in self.traps.enabled and entry is not None
        options: dict[str, Any] = {
            "window_left": call.window_left,
            "q_len": max(call.q_len_per_req, 1),
            "cum_seq_lens_q": call.cum_seq_lens_q,
            "req_pool_indices": requests,
            "tag": tag,
        }
        identity: dict[str, Any] = {
            "req_to_token": entry.req_to_token if known and entry is not None else None,
            "full_to_swa": read.full_to_swa,
        }
        table, lengths, safe = call.block_tables, call.cache_seqlens, None
        if instruments.containment is None:
            instruments.checker.check_table(table, lengths, read.space, **options, **identity)
        else:
            block_tables, seq_lens = instruments.containment.redirect(
                table, lengths, read.space, **options, **identity
            )
            safe = {"block_tables": block_tables, "seq_lens": seq_lens}
        self._record(instruments, read.space, table, lengths, options)
        return safe

    def _record(
        self,
        instruments: Instruments,
        space: IndexSpace,
        table: Tensor,
        lengths: Tensor,
        options: dict[str, Any],
    ) -> None:
        try:
            instruments.recorder.record(space.name, table, lengths, checked=True, **options)
        except Exception as error:  # whatever the recorder runs into, the server goes on without it
            if not self.counts["recordings lost"]:
                logger.error("sglang-triage: the flight recorder failed: %s", error)
            self.counts["recordings lost"] += 1

    def _check_form(self, call: AttentionCall, read: Reading) -> None:
        form = check_form(
            call.block_tables,
            call.cache_seqlens,
            page_size=call.page_size,
            device_of_kernel=call.query.device,
            where=f"launch {self.counts['launches']}, {read.space.name} pool",
        )
        if form:
            self.traps.fire_event(form[0])

    def _not_covered(self, reason: str) -> None:
        self.counts["launches not covered"] += 1
        if reason not in self.refused:
            logger.error("sglang-triage: a launch is NOT covered: %s", reason)
        self.refused[reason] += 1


def _checked(
    call: AttentionCall,
    entry: Entry | None,
    read: Reading,
    tag: int,
    graph: int,
    safe: dict[str, Tensor] | None,
) -> Checked:
    arguments = call.arguments
    pool = read.pool
    return Checked(
        table=call.block_tables,
        lengths=call.cache_seqlens,
        cumulative=call.cum_seq_lens_q,
        q_len=arguments.get("q_len_per_req"),
        window=call.window_left,
        pages=call.num_pages,
        backend=None if entry is None else entry.backend,
        metadata=None if entry is None else entry.metadata,
        forward_batch=None if entry is None else entry.forward_batch,
        pool=pool,
        layers=pool.layers_mapping if is_hybrid(pool) else _NOTHING,
        slides=read.space.name == "swa",
        graph=graph,
        call=call,
        entry=entry,
        read=read,
        tag=tag,
        safe=safe,
    )


def _facts(
    call: AttentionCall, entry: Entry | None, read: Reading, graph: int
) -> dict[str, int | str]:
    """What the host knows of a launch; comes back with every offender and ring entry."""
    facts: dict[str, int | str] = {
        "pool": read.space.name,
        "kind": "decode" if "decode" in call.api else "context",
        "graph": graph,
        "window_left": call.window_left,
        "num_pages": read.space.num_pages,
    }
    if entry is not None:
        facts["layer_id"] = entry.layer_id
        facts["role"] = entry.origin.role
        facts["forward_mode"] = entry.forward_mode
        facts["stale"] = stale_state(entry.backend, read.pool) or ""
    return facts
