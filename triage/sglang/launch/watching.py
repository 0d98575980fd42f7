"""Where SGLang's launches meet `device/watch.py`: modes `contain` and `log`, and every capture.

The failure: a check that waits for the device costs two syncs a layer and is
blind under CUDA graphs, so nobody leaves it on. The rule: one check and one
recording per index space and forward, launched at the FlashInfer call itself, so
that a capture records them between the refill of the table and the attention;
per layer only host comparisons (`hot_state.py`). What the checks found comes to the host with the
step's mark (`triage/sglang/scheduler/steps.py`).

Not covered: launches of one process on two streams at once, a launch whose form
the checker does not know (counted under its reason, never as clean), and I12
against the forward batch's own lengths, which only mode `raise` has.

Long because arming, the first launch and the repeated one share the bound launches.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from triage.device import capture
from triage.device.checker import CheckRefused
from triage.dump.provenance import provenance
from triage.errors import InstallError
from triage.invariants.reads import check_form
from triage.sglang.binding.shell import attempt
from triage.sglang.launch.bound import BoundLaunch
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.entry import Entries, Entry, checked_of
from triage.sglang.launch.freshness import Freshness
from triage.sglang.launch.hot_state import Checked, Form, Forward, Replacement, form_of
from triage.sglang.launch.pools import (
    PoolView,
    active_pool,
    identity_key,
    num_pages,
    owner_of,
    pool_view,
    stale_state,
    sub_pools,
    swa_state,
    translated,
)
from triage.sglang.launch.sizing import watch_for
from triage.sglang.reporter import Reporter

if TYPE_CHECKING:
    from triage.device.watch import Mode, Watch

logger = logging.getLogger("triage")

HEARTBEAT = 100

FORM = (
    "query",
    "kv_cache",
    "block_tables",
    "seq_lens",
    "window_left",
    "q_len_per_req",
    "kv_layout",
    "cum_seq_lens_q",
)
"""The arguments of a FlashInfer call that say whether it is like an earlier one."""


class Watching:
    """The launches of one process, seen by one Watch.

    Args:
        mode: of the Watch.
        strict: refuse to start where nothing could be checked.
    """

    def __init__(
        self,
        reporter: Reporter,
        entries: Entries,
        freshness: Freshness,
        mode: Mode,
        *,
        strict: bool = True,
    ) -> None:
        self.reporter = reporter
        self.entries = entries
        self.freshness = freshness
        self.mode: Mode = mode
        self.strict = strict
        self.watch: Watch | None = None
        self.heartbeat = HEARTBEAT
        self.refused_to_arm = ""
        self._hot = entries.hot
        self._hot.on_capture_change = self._capture_changed
        self._bound: dict[str, BoundLaunch] = {}  # of each index space, the newest
        self.unidentified: Counter[str] = Counter()
        """Why launches were not compared with their requests (I2), and how many."""
        self.on_recorded: Callable[[Any], None] = lambda backend: None
        self.graph = 0
        self._captures = 0
        self._expected: set[int] = set()  # backends
        self.of_graph: set[int] = set()
        """Backends whose newest metadata is that of a graph, by `id`."""

    def restart(self) -> None:
        """As in a new process; the memory of the last one is given back."""
        self.watch = None
        self._hot.forget()
        self._bound.clear()
        self.graph = self._captures = 0
        self.unidentified.clear()
        self._expected.clear()
        self.of_graph.clear()

    @property
    def refused(self) -> dict[str, int]:
        """Why launches were not covered, and how many; empty if all were."""
        found: dict[str, int] = {} if self.watch is None else dict(self.watch.refused)
        if self.refused_to_arm:
            found[self.refused_to_arm] = self.reporter.counts["launches not covered"]
        return found

    # -- arming ------------------------------------------------------------------------

    def prepare(self, backend: Any, slots: Tensor | None = None, page: int = 0) -> None:
        """Take all memory, at the first backend's construction; later backends share it.

        slots, page: `req_to_token` and tokens per page, for a backend that does not hold them.

        Raises InstallError where the form of `backend` is not known and `strict` is
        set; else every launch is counted as not covered.
        """
        if self.watch is not None or self.refused_to_arm:
            return
        window = self.entries.origin_of(backend).sliding_window
        try:
            self.watch = watch_for(
                backend.req_to_token if slots is None else slots,
                page or int(backend.page_size),
                int(getattr(backend, "speculative_num_draft_tokens", None) or 1),
                window,
                self.mode,
                self.heartbeat,
            )
        except CheckRefused as refusal:
            if self.strict:
                raise InstallError(f"launches cannot be checked: {refusal}") from refusal
            self.refused_to_arm = str(refusal)
            logger.error("sglang-triage: launches are NOT covered: %s", refusal)
            return
        attempt("provenance", provenance, {})  # asks for the GPU's name while it can be asked
        recorder = self.watch.recorder
        if recorder is not None:
            logger.info(
                "sglang-triage: watching %s; recorder %.1f MiB on the host, %.1f MiB on it",
                self.watch.checker.device,
                recorder.host_bytes / 2**20,
                recorder.device_bytes / 2**20,
            )

    def forget(self, backend: Any, *, graph: bool = False, expect: bool = True) -> None:
        """New metadata of `backend`, or the same refilled: its tables are to be checked again.

        graph: it is a graph's.
        expect: a check on the device is to follow, or the heartbeat stops.
        """
        if graph:
            self.of_graph.add(id(backend))
        elif self.of_graph:
            self.of_graph.discard(id(backend))
        if expect:
            self._expected.add(id(backend))
        if self._hot.newest is not None:
            self._forget()

    def not_identified(self, reason: str) -> None:
        """A launch is checked, but not for whose pages it reads. The first of a kind is logged."""
        if "I2" not in self.reporter.enabled:
            return
        if reason not in self.unidentified:
            logger.warning("sglang-triage: a launch is not covered for identity: %s", reason)
        self.unidentified[reason] += 1
        self.reporter.counts["launches not covered for identity"] += 1

    def note_rows(self, call: AttentionCall, entry: Entry | None) -> None:
        """Count a launch whose rows cannot be compared with requests, unless its caller did."""
        if entry is None:
            self.not_identified("a call from outside the backends that are known")
        elif translated(entry.backend):
            self.not_identified("a unified pool, whose request table holds virtual slots")
        elif call.rows_are_requests and entry.requests_of(call) is None:
            self.not_identified("rows that are not the batch's requests")

    def expect(self, backend: Any) -> None:
        """A check of a launch of `backend` is in the work of this step: its mark is to be sent."""
        self._expected.add(id(backend))

    def checked_by_host(self, backend: Any) -> None:
        """Mode `raise` read a table before its launch: none of the device is to follow.

        A graph's metadata announces one; where the forward then runs outside a graph,
        waiting for it would end in a heartbeat missed. Another backend's, such as that of
        a draft's graph in the same step, is still to come.
        """
        self._expected.discard(id(backend))

    def forward_done(self) -> None:
        """The target's forward has been launched: what recognised its later layers is let go."""
        self._forget()
        for bound in self._bound.values():
            if bound.checked is not None:
                bound.checked.release_refs()

    def take_expected(self) -> bool:
        """Was metadata built since the last call, so that a check on the device ran?"""
        expected = bool(self._expected)
        self._expected.clear()
        return expected

    def _forget(self) -> None:
        self._hot.forget()
        if self.watch is not None:
            self.watch.begin()

    # -- the launch --------------------------------------------------------------------

    def before_launch(self, api: str, arguments: Mapping[str, Any]) -> Replacement | None:
        """Check and record the launch; the table and lengths it must be given instead of its own.

        Call it where no check holds (`hot_state.SAME_LAUNCH_SRC`) and `repeated` knows none.
        Cost: one check and one recording. No sync, no allocation, legal under capture.
        """
        self.reporter.counts["launches"] += 1
        graph = self.graph_now()
        return self._check(AttentionCall(api, arguments), graph)

    def repeated(self, api: str, *launch: Any) -> Checked | None:
        """The check of a launch that differs from an earlier one in values alone, run as that was.

        None where there is none, outside a backend's entry, and where mode `raise` has to
        read the answer. launch: the arguments of `FORM`. Cost: that of `before_launch`; few
        calls are made, since what runs once a forward finds no cache warm.
        """
        hot, watch = self._hot, self.watch
        if (
            hot.current_call is None
            or watch is None
            or (self.reporter.reads_device and not self.graph)
        ):
            return None
        backend, layer, batch = hot.current_call
        for bound in self._bound.values():
            if bound.layer is layer:
                break
        else:
            return None
        identity = identity_key(backend, batch)
        forward = hot.forward or hot.decide(backend, batch, identity[1])
        if not bound.like(self._form(forward, api, *launch), identity):
            return None
        if not forward.fresh:
            self.freshness.check(backend, batch)
            forward.fresh = True
        _, _, table, lengths, _, _, _, cumulative = launch
        requests = batch.req_pool_indices if bound.by_request else None
        if not bound.launch(table, lengths, cumulative, requests):
            return None
        checked = bound.checked
        assert checked is not None
        checked.table, checked.lengths, checked.cumulative = table, lengths, cumulative
        forward.keep(checked)
        hot.relaunched += 1
        if self.graph:
            self.reporter.counts["tables under capture"] += 1
            self.on_recorded(backend)
        return checked

    def _form(
        self,
        forward: Forward,
        api: str,
        query: Any,
        kv_cache: Any,
        table: Any,
        lengths: Any,
        window: Any,
        q_len: Any,
        layout: Any,
        cumulative: Any,
    ) -> Form:
        """What a launch must share with an earlier one to differ from it in nothing but values.

        Objects that live as long as the server are compared apart, `identity_key`.
        """
        batch = forward.batch
        requests = batch.req_pool_indices
        vectors = forward.vectors
        if (
            vectors is None
            or vectors[0] is not lengths
            or vectors[1] is not cumulative
            or vectors[2] is not requests
        ):
            forms = [None if each is None else form_of(each) for each in (lengths, cumulative)]
            forms.append(None if requests is None else form_of(requests))
            vectors = forward.vectors = lengths, cumulative, requests, tuple(forms)
        return (
            self.graph,
            api,
            batch.forward_mode,
            -1 if window is None else window,
            q_len,
            layout or "HND",
            vectors[3],
            table is getattr(forward.metadata, "page_table", None),
            table.shape,
            table.stride(),
            table.dtype,
            table.device,
            kv_cache[0].shape,
            query.device,
        )

    def graph_now(self) -> int:
        """0 outside capture, else a number per capture: warm-up launches do not count for it."""
        if capture.capturing() is not self._hot.capturing:
            self._capture_changed()
        return self.graph

    def _capture_changed(self) -> None:
        """A capture has begun or ended: nothing that was checked before holds inside it."""
        self._hot.capturing = not self._hot.capturing
        self._captures += self._hot.capturing
        self.graph = self._captures if self._hot.capturing else 0
        self._forget()

    def _check(self, call: AttentionCall, graph: int) -> Replacement | None:
        watch, counts = self.watch, self.reporter.counts
        if watch is None:
            counts["launches not covered"] += 1
            return None
        entry = self.entries.current
        pool = None if entry is None else active_pool(entry.backend, entry.forward_batch)
        read = pool_view(call, pool, None if entry is None else entry.layer_id)
        forward = None if entry is None else self.entries.forward(entry, pool)
        if forward is not None:
            self.freshness.check(forward.backend, forward.batch)
            forward.fresh = True
        if "I26" in self.reporter.enabled:
            self._check_form(call, read)
        self.note_rows(call, entry)
        refused, checks = sum(watch.refused.values()), watch.checks
        given = self._launch(watch, call, entry, read, graph)
        refused_now = sum(watch.refused.values()) > refused
        if refused_now:
            counts["launches not covered"] += 1
        counts["tables"] += 1
        counts["tables under capture"] += graph > 0
        if graph and entry is not None:
            self.on_recorded(entry.backend)
        safe = None if given[0] is call.block_tables else given
        self._bound.pop(read.space.name, None)
        if entry is None or forward is None:  # it took the space's buffer
            self._hot.forget()
            return safe
        checked = checked_of(call, read, safe)
        forward.keep(checked)
        whole = entry.rows_match(call) or entry.requests_of(call) is None
        if not refused_now and watch.checks > checks and whole:
            self._bind(watch, forward, checked, entry, read, call)
        return safe

    def _bind(
        self,
        watch: Watch,
        forward: Forward,
        checked: Checked,
        entry: Entry,
        read: PoolView,
        call: AttentionCall,
    ) -> None:
        """Keep the launch, for those that differ from it in values alone."""
        passed = [call.arguments.get(name) for name in FORM]
        self._bound[read.space.name] = BoundLaunch(
            form=self._form(forward, call.api, *passed),
            identity=identity_key(entry.backend, entry.forward_batch),
            launch=partial(watch.relaunch, read.space.name),
            layer=entry.layer,
            by_request=entry.rows_match(call) or entry.attributed(call) is not None,
            checked=checked,
        )

    def _launch(
        self, watch: Watch, call: AttentionCall, entry: Entry | None, read: PoolView, graph: int
    ) -> tuple[Tensor, Tensor]:
        requests = None if entry is None else entry.requests_of(call)
        identity = requests is not None and "I2" in self.reporter.enabled
        if requests is None and entry is not None:
            requests = entry.attributed(call)
        return watch.launch(
            read.space.name,
            call.block_tables,
            call.cache_seqlens,
            read.space,
            facts=_facts(call, entry, read, graph, identity),
            window_left=call.window_left,
            q_len=max(call.q_len_per_req, 1),
            cum_seq_lens_q=call.cum_seq_lens_q,
            req_pool_indices=requests,
            req_to_token=entry.req_to_token if identity and entry is not None else None,
            full_to_swa=read.full_to_swa,
        )

    def _check_form(self, call: AttentionCall, read: PoolView) -> None:
        form = check_form(
            call.block_tables,
            call.cache_seqlens,
            page_size=call.page_size,
            device_of_kernel=call.query.device,
            any_stride=call.any_stride,
            where=f"launch {self.reporter.counts['launches']}, {read.space.name} pool",
        )
        if form:
            self.reporter.fire_event(form[0])


def _facts(
    call: AttentionCall, entry: Entry | None, read: PoolView, graph: int, identity: bool
) -> dict[str, int | str]:
    """What the host knows of a launch; comes back with every offender and ring entry."""
    facts: dict[str, int | str] = {
        "space": read.space.name,
        "kind": "decode" if "decode" in call.api else "context",
        "api": call.api,
        "graph": graph,
        "window_left": call.window_left,
        "num_pages": read.space.num_pages,
        "num_q_heads": int(call.query.shape[-2]),
        "num_kv_heads": call.num_kv_heads,
        "head_dim": int(call.query.shape[-1]),
        "kv_layout": call.layout,
        "separate_kv": call.kv[0].data_ptr() != call.kv[1].data_ptr(),
        "ragged": call.cum_seq_lens_q is not None,
        "table_dtype": str(call.block_tables.dtype).removeprefix("torch."),
        "table_stride": int(call.block_tables.stride(0)),
        "pool_class": type(read.pool).__name__,
        "reads": owner_of(entry, read) + read.space.name,
        "table_space": "",
        "identity": False,
        **{
            f"{name}_pages": num_pages(pool, call.page_size)
            for name, pool, _ in (() if read.pool is None else sub_pools(read.pool))
        },
    }
    if entry is not None:
        facts["table_space"] = entry.table_space(call)
        facts["identity"] = identity
        state = swa_state(entry.backend).items()
        facts["swa_state"] = ", ".join(f"{name} = {value}" for name, value in state)
        facts["init_pool_class"] = entry.origin.pool_class
        facts["layer_id"] = entry.layer_id
        facts["role"] = entry.origin.role
        facts["forward_mode"] = entry.forward_mode
        facts["stale"] = stale_state(entry.backend, read.pool) or ""
    return facts
