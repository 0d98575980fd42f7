"""The check of launches that read packed slots: Triton's, and FlashInfer's own (fa2).

The failure: a server that prefills through Triton reads slots of another pool or request,
and the traps, which stand at the page tables of trtllm_mha, see nothing of it. The rule is
theirs: one check per pair of buffers and forward, at the first layer that reads it, so that
a capture records it between the refill and the attention; further layers cost a few
comparisons of host objects. Modes `contain` and `log`, and every capture: the device checks,
nothing waits, and the step's mark brings what was found. Mode `raise`, outside a capture: the
same kernel over a state of its own, read at once, and an exception before the launch.

In `contain` a slot outside the pool is overwritten by slot 0 in SGLang's own buffer, which
the next forward fills anew. What cannot be judged is counted under its reason: a launch not
covered at all, or one that is *not covered for identity*.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from triage.device import capture
from triage.device.checker import CheckRefused, DeviceChecker, StepReport
from triage.evidence import Evidence
from triage.invariants.catalogue import error_of, first_of, sentence
from triage.invariants.packed_slots import SLOT_SENTENCES
from triage.sglang.binding.shell import attempt
from triage.sglang.binding.verdicts import trap_error
from triage.sglang.launch.guard import LaunchGuard
from triage.sglang.launch.newest import NewestForward
from triage.sglang.packed_slots.decode_window import decode_window
from triage.sglang.packed_slots.dump import collect_stream
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
        self.sum_told = False
        self._window_asked = False

    # -- what is told ----------------------------------------------------------------------

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
        waits = self.reporter.may_wait
        try:
            if not waits or backend in self._of_graph:  # warm-up loads what a capture records
                self._launch(watch.checker, stream, watch.tag(**facts), watch.mode == "contain")
            if waits:
                checker = self._checker_now(watch.checker.device)
                self._launch(checker, stream, watch.tag(**facts), False)
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

    def _launch(self, checker: DeviceChecker, stream: PackedSlots, tag: int, safe: bool) -> None:
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
        )

    def _checker_now(self, device: Any) -> DeviceChecker:
        """The state that mode `raise` reads at once; the other goes with the step's mark."""
        if self._now is None:
            self._now = DeviceChecker(device, snapshots=1)
        return self._now

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
            "role": origin.role,
            "forward_mode": str(getattr(mode, "name", mode)),
            "init_pool_class": origin.pool_class,
        }
