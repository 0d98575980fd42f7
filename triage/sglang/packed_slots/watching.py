"""The check of launches that read packed slots: Triton's, and FlashInfer's own (fa2).

The failure: a server that prefills through Triton reads slots of another pool or request,
and the traps, which stand at the page tables of trtllm_mha, see nothing of it. The rule is
theirs: one check per pair of buffers and forward, at the first layer that reads it, so that
a capture records it between the refill and the attention; further layers cost a few
comparisons of host objects. Modes `contain` and `log`, and every capture: the device checks,
nothing waits, and the step's mark brings what was found. Mode `raise`, outside a capture: the
same kernel over a state of its own, read at once, and an exception before the launch.

In `contain` a slot outside the pool is overwritten by slot 0 in SGLang's own buffer, which
the next forward fills anew. A launch that was found wrong is kept as it was (`kept.py`) until the
step's report is written. What cannot be judged is counted under its reason: a launch not
covered at all, or one that is *not covered for identity*.

Long because both backends and all modes share what is remembered of a forward.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from triage.device import capture
from triage.device.checker import CheckRefused, DeviceChecker, StepReport
from triage.device.kept_slots import KeptSlots
from triage.dump.from_ring import Recorded
from triage.evidence import Evidence
from triage.invariants.catalogue import error_of, first_of, sentence
from triage.invariants.packed_slots import SLOT_SENTENCES
from triage.sglang.binding.shell import attempt
from triage.sglang.binding.verdicts import trap_error
from triage.sglang.launch.guard import LaunchGuard
from triage.sglang.launch.newest import NewestForward
from triage.sglang.packed_slots.decode_window import decode_window
from triage.sglang.packed_slots.dump import LaunchKind, as_of_a_table, collect_stream
from triage.sglang.packed_slots.kept import cached_of, cut_to_size, sections_of
from triage.sglang.packed_slots.reading import NotCovered, PackedSlots, fa2_stream, triton_slots

logger = logging.getLogger("triage")

READERS = {"triton": triton_slots, "fa2": fa2_stream}


class PackedSlotWatching:
    """The launches of one process that read packed slots. One thread.

    Attributes:
        not_covered: reasons, and how many forwards had each.
        sum_told: was a sum of lengths that is too small logged already?
    """

    def __init__(self, launches: LaunchGuard) -> None:
        self.launches = launches
        self.reporter = launches.reporter
        self._steps: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.not_covered: Counter[str] = Counter()
        self._covered: WeakSet[Any] = WeakSet()
        self._of_graph: WeakSet[Any] = WeakSet()  # whose newest metadata is a graph's
        self._now: DeviceChecker | None = None
        self._newest = NewestForward()
        self._kinds: dict[int, LaunchKind] = {}  # by the tag that findings come back with
        self.sum_told = False
        self._window_asked = False

    # -- what is told ----------------------------------------------------------------------

    def take_memory(self, req_to_token: Any) -> None:
        """For launches that are found wrong, once, before any capture."""
        watch = self.launches.watching.watch
        if watch is not None and watch.kept_slots is None:
            watch.kept_slots = attempt(
                "memory for the slots of wrong launches", lambda: KeptSlots.of(req_to_token), None
            )

    def note_step(self, backend: Any, step: int) -> None:
        """`backend` serves this step of a draft of several."""
        self._steps[backend] = step

    def metadata_built(self, backend: Any, *, graph: bool, launches: bool = True) -> None:
        """New metadata, or the same refilled: its slots are to be checked again.

        launches: attention is to follow.
        """
        self._newest.forget()
        (self._of_graph.add if graph else self._of_graph.discard)(backend)
        waits = self.reporter.reads_device and not graph
        if launches and not waits and backend in self._covered:
            self.launches.watching.expect(backend)

    # -- the launch --------------------------------------------------------------------------

    def entered(self, kernel: str, backend: Any, layer: Any, batch: Any) -> dict[Any, Any]:
        """A layer of `backend` is about to launch. Returns what is noted of its forward.

        Raises a TrapError in mode `raise`.
        Cost: for all but the first layers of a forward some comparisons of host objects.
        """
        slides = (getattr(layer, "sliding_window_size", None) or -1) > -1
        graph = self.launches.watching.graph_now() if capture.capturing() else 0
        checked = self._newest.checked(backend, batch, graph)
        self.reporter.counted_here["launches"] += 1
        if slides not in checked:
            checked[slides] = True
            self._first(kernel, backend, layer, batch, graph)
        return checked

    def _first(self, kernel: str, backend: Any, layer: Any, batch: Any, graph: int) -> None:
        """The first layer of its kind in a forward."""
        try:
            stream = READERS[kernel](backend, layer, batch, self._steps.get(backend))
        except NotCovered as reason:
            self._leave_out(str(reason))
            return
        if stream is None:  # this launch reads no cache
            return
        if stream.one_fewer and not self._window_asked:
            self._ask_for_the_window(stream, backend, batch)
        if stream.why_not:
            self.launches.watching.not_identified(stream.why_not)
        self._check(stream, backend, layer, batch, graph)

    def _ask_for_the_window(self, stream: PackedSlots, backend: Any, batch: Any) -> None:
        """Does a decode of this SGLang read its whole window? Told once; host integers."""
        asked = attempt(
            "asking for the decode's window", lambda: decode_window(stream, backend, batch), None
        )
        if asked is None:
            return
        self._window_asked = True
        if isinstance(asked, Evidence):
            self.reporter.notice(asked)

    def _leave_out(self, reason: str) -> None:
        if reason not in self.not_covered:
            logger.warning("sglang-triage: a launch is not covered: %s", reason)
        self.not_covered[reason] += 1
        self.reporter.counts["launches not covered"] += 1

    def _check(self, stream: PackedSlots, backend: Any, layer: Any, batch: Any, graph: int) -> None:
        watching = self.launches.watching
        watch = watching.watch
        if watch is None:
            self._leave_out(f"{stream.kernel}: {watching.refused_to_arm or 'no checker'}")
            return
        facts = self._facts(stream, backend, layer, batch, graph)
        waits, tag = self.reporter.may_wait, watch.tag(**facts)
        try:
            if not waits or backend in self._of_graph:  # warm-up loads what a capture records
                if tag not in self._kinds:
                    self._note_kind(tag, stream, backend, layer, batch, graph)
                safe = watch.mode == "contain"
                self._launch(watch.checker, stream, tag, safe, watch.kept_slots)
            if waits:
                checker = self._checker_now(watch.checker.device)
                self._launch(checker, stream, tag, False)
        except CheckRefused as refusal:
            self._leave_out(f"{stream.kernel}: {refusal}")
            return
        self.reporter.counts["slot streams"] += 1
        if waits:
            self.reporter.counts["host reads"] += 1
            checker.mark(self.reporter.counts["launches"])
            (report,) = checker.poll(wait=True)
            self._judge(report, stream, backend, layer, batch, facts)
            return
        self.reporter.counts["slot streams under capture"] += graph > 0
        self._covered.add(backend)
        watch.checks += 1
        if not graph:
            watching.expect(backend)

    def _note_kind(
        self, tag: int, stream: PackedSlots, backend: Any, layer: Any, batch: Any, graph: int
    ) -> None:
        entries = self.launches.entries
        kind = attempt(
            "noting a kind of launch",
            lambda: LaunchKind.of(stream, backend, layer, batch, entries, graph),
            None,
        )
        if kind is not None:
            self._kinds[tag] = kind

    def _launch(
        self,
        checker: DeviceChecker,
        stream: PackedSlots,
        tag: int,
        safe: bool,
        kept: KeptSlots | None = None,
    ) -> None:
        identity = stream.identity and "I2" in self.reporter.enabled
        checker.check_packed_slots(
            stream.kv_indptr,
            stream.kv_indices,
            stream.space,
            ends=stream.ends,
            ahead=stream.ahead,
            window=stream.window,
            counted=stream.counted,
            one_fewer=stream.one_fewer,
            req_pool_indices=stream.requests,
            req_to_token=stream.req_to_token if identity else None,
            full_to_swa=stream.full_to_swa if identity else None,
            name=stream.name,
            safe=safe,
            tag=tag,
            kept=kept,
        )

    def _checker_now(self, device: Any) -> DeviceChecker:
        """The state that mode `raise` reads at once; the other goes with the step's mark."""
        if self._now is None:
            self._now = DeviceChecker(device, snapshots=1)
        return self._now

    # -- a step later --------------------------------------------------------------------------

    def recorded(self, evidence: Evidence, report: StepReport) -> tuple[Evidence, Recorded | None]:
        """The evidence of a launch over slots, and the launch as it was kept; no device is asked.

        None where it was not kept, and the evidence then says why.
        """
        number, watch = evidence.facts.get("launch"), self.launches.watching.watch
        slots = None if watch is None else watch.kept_slots
        kept = slots.launch(number) if slots is not None and isinstance(number, int) else None
        kind = None if kept is None else self._kinds.get(kept.tag)
        if kept is None or kind is None:
            why = "no memory could be taken for them"
            if slots is not None:
                why = f"{slots.places} launches are kept at a time, and others were wrong before"
            return replace(
                evidence, facts={**evidence.facts, "slots of the launch": f"not recorded: {why}"}
            ), None
        found = [
            [each.violation for each in part if each.launch == number]
            for part in (report.offenders, report.excused)
        ]
        own = tuple(each for each in evidence.violations if each in found[0])
        kept, evidence, (offenders, excused) = cut_to_size(
            kept, replace(evidence, violations=own), found
        )
        complete = kept.launch < report.whole_before
        recorded = sections_of(kind, kept, offenders, excused, complete=complete)
        return as_of_a_table(evidence, cached_of(kept) if kind.cached_only else None), recorded

    # -- mode `raise` ------------------------------------------------------------------------

    def _judge(
        self,
        report: StepReport,
        stream: PackedSlots,
        backend: Any,
        layer: Any,
        batch: Any,
        facts: dict[str, Any],
    ) -> None:
        counts = {n: c for n, c in report.counts.items() if n in self.reporter.enabled}
        if not counts:
            return
        first = first_of(counts)

        def error() -> Any:
            offenders = [o.violation for o in report.offenders if o.violation.invariant in counts]
            offenders.sort(key=lambda v: (v.invariant != first, v.row, v.column))
            evidence = Evidence(
                invariant=first,
                summary=SLOT_SENTENCES.get(first, sentence(first)),
                where=f"{stream.kernel} launch {self.reporter.counts['launches']}",
                pool=stream.space.name,
                layer_id=int(layer.layer_id),
                forward_mode=facts["forward_mode"],
                total=sum(counts.values()),
                rows_affected=len({v.row for v in offenders}),
                violations=tuple(offenders),
                facts={
                    "counts": counts,
                    "kernel": stream.kernel,
                    "stream": stream.name,
                    **({"identity": f"not asked: {stream.why_not}"} if stream.why_not else {}),
                },
            )
            self.reporter.note_violation(first)
            launches = self.reporter.counts["launches"]
            dump = attempt(
                "collecting the launch",
                lambda: collect_stream(
                    evidence, stream, backend, layer, batch, self.launches.entries, launches
                ),
                None,
            )
            if dump is None:
                return self.reporter.event_error(evidence)
            return self.reporter.failure(error_of(first), dump)

        raise trap_error(error, first)

    def _facts(
        self, stream: PackedSlots, backend: Any, layer: Any, batch: Any, graph: int
    ) -> dict[str, Any]:
        """What the host knows of a launch; comes back with every offender."""
        mode, origin = batch.forward_mode, self.launches.entries.origin_of(backend)
        return {
            "space": stream.space.name,
            "kind": stream.kernel,
            "stream": stream.name,
            "graph": graph,
            "window_left": stream.layer_window,
            "num_pages": stream.space.num_pages,
            "page_size": stream.space.page_size,
            "pool_class": type(stream.pool).__name__,
            "identity": stream.identity and "I2" in self.reporter.enabled,
            "not_identified": stream.why_not,
            "layer_id": int(layer.layer_id),
            "window": stream.window,
            "role": origin.role,
            "forward_mode": str(getattr(mode, "name", mode)),
            "init_pool_class": origin.pool_class,
        }
