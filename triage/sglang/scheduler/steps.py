"""What the device found, brought to the host before a step's tokens leave the scheduler.

The scheduler launches a step and looks at its result later (one step later under
overlap). In between, SGLang itself waits for the event behind the copy of that
result to the host; the mark of a step lies before that event on the same stream.

    begin         a step is about to be launched: its number
    forward_done  behind the target's forward: the stream that it ran on
    end           everything of the step is queued, a draft behind the target included:
                  the mark, on that stream
    release       before the step's tokens are looked at: waits for that mark, then
                  raises the step's TrapError, or logs it in mode `log`

SGLang queues the copy of a step's result before `run_batch` returns, so on one stream the
mark lies some microseconds behind the event that SGLang waits for; from 0.5.15.post1 that
copy has a stream of its own.

Long because a step's marks, its report and how that is told share the same few counters.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from triage.device import capture
from triage.device.checker import StepReport
from triage.device.watch import CheckerSilent, Watch
from triage.dump.from_ring import Recorded, launch_of
from triage.dump.sections import Dump
from triage.errors import StaleSWAState, TrapError
from triage.evidence import Evidence
from triage.invariants.catalogue import (
    CONTAINED,
    SHOWN_BY_ADDRESSES,
    SHOWN_BY_IDS,
    error_of,
    first_of,
    sentence,
)
from triage.sglang.binding.shell import attempt
from triage.sglang.binding.verdicts import printed, trap_error
from triage.sglang.launch.watching import Watching
from triage.sglang.reporter import Reporter
from triage.sglang.scheduler.history import History
from triage.sglang.scheduler.in_flight import InFlight

if TYPE_CHECKING:
    from triage.sglang.launch.order import Order
    from triage.sglang.witness.witness import Witness

logger = logging.getLogger("triage")

_BY_IDS = SHOWN_BY_ADDRESSES | SHOWN_BY_IDS  # what stale SWA state leads to
RecordedSlots = Callable[[Evidence, StepReport], tuple[Evidence, Recorded | None]]
INVALID = "the output of this step is invalid"


class Steps:
    """The steps of one scheduler. One thread.

    order: of replays and refills (I18), witness: of outputs (I28); None where not asked for.
    recorded_slots: the launch of a finding over packed slots, of which the ring has no table.
    with_rows: adds to a launch of the ring what can be read once its step is over.
    """

    def __init__(self, reporter: Reporter, watching: Watching, history: History) -> None:
        self.reporter = reporter
        self.watching = watching
        self.history = history
        self.order: Order | None = None
        self.witness: Witness | None = None
        self.recorded_slots: RecordedSlots = lambda evidence, report: (evidence, None)
        self.with_rows: Callable[[Recorded, dict[str, Any]], Recorded] = lambda recorded, _: (
            recorded
        )
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.current = 0
        self._reports: deque[StepReport] = deque()
        self._logged: Counter[tuple[str, str]] = Counter()
        self._device_lost = False
        self._stream: torch.cuda.Stream | None = None  # of the newest forward
        self._queued = False  # a forward that no mark has followed
        self._unsound: set[int] = set()  # steps whose tables were found wrong
        self.in_flight = InFlight()

    # -- what the scheduler does -----------------------------------------------------------

    def begin(self) -> int:
        """A step is about to be launched. The first one drops what warm-up left behind."""
        if self.current == 0:
            self._absorb_warm_up()
        self.current += 1
        if self.witness is not None:
            self.witness.begin(self.current)
        return self.current

    def forward_done(self) -> None:
        """The target's forward is queued on the current stream. Host work only."""
        watch = self.watching.watch
        if watch is None or capture.capturing() or self._device_lost:
            return
        self.watching.forward_done()
        self._queued = True
        if watch.checker.on_cuda:
            self._stream = torch.cuda.current_stream(watch.checker.device)

    def end(self) -> None:
        """Send the checker's state to the host behind everything that the step has queued.

        Cost: one async copy and one event, on the forward's stream; a wait only if eight
        marks are on their way, SGLang has two at most.
        """
        if self.witness is not None:
            self.witness.end()
        watch = self.watching.watch
        if watch is None or not self._queued or capture.capturing() or self._device_lost:
            return
        self._queued = False
        if not self.watching.take_expected():
            return
        try:
            if self._stream is None:
                self._mark(watch)
            else:
                with torch.cuda.stream(self._stream):
                    self._mark(watch)
        except RuntimeError as error:
            self._lose_device(error)

    def _mark(self, watch: Watch) -> None:
        if not watch.end(self.current):
            self.reporter.counts["marks that waited"] += 1
            self._reports.extend(watch.checker.poll(until=watch.checker.oldest_step))
            watch.end(self.current)

    def release(self, step: int | None, batch: Any = None) -> None:
        """Raise what the checks of `step` and of the steps before it found.

        Waits for the mark of that step: SGLang waits for the later copy of its result
        right after, so no sync is added. None, a result of unknown origin, waits for
        every mark.

        batch: the ScheduleBatch of `step`, which tells whose its rows are.
        """
        if capture.capturing():
            return
        watch = self.watching.watch
        if watch is not None:
            self._release(watch, step, batch)
        if self.order is not None and not self._device_lost:
            broken = self.order.broken()
            if broken is not None:
                self.reporter.fire_event(broken)
        if self.witness is not None and not self._device_lost:
            self.witness.release(step, self._unsound)
        self._unsound.clear()

    def _release(self, watch: Watch, step: int | None, batch: Any) -> None:
        """What the device checker found."""
        self.end()  # where the end of its launch could not be seen
        reports = self._reports
        if not self._device_lost:
            try:
                reports.extend(watch.checker.poll(wait=step is None, until=step))
            except RuntimeError as error:
                self._lose_device(error)
        while reports and (step is None or reports[0].step <= step):
            report = reports.popleft()
            self._judge(watch, report, batch if report.step == step else None)

    def _lose_device(self, error: RuntimeError) -> None:
        """A CUDA error is SGLang's to report: it meets the same one at its own next call.

        Any other RuntimeError is raised again: it is ours.
        """
        if "CUDA" not in str(error):
            raise error
        self._device_lost = True
        self.reporter.shells.failures["device checker"] = "the device is lost"
        logger.error("sglang-triage: the device is lost, checks end here: %s", error)

    def _absorb_warm_up(self) -> None:
        """Warm-up and capture run on dummy batches; what they left is logged, not raised."""
        watch, counts = self.watching.watch, self.reporter.counts
        if watch is None or capture.capturing() or not counts["tables"] + counts["writes"]:
            return
        watch.end(0)
        for report in watch.checker.poll(wait=True):
            if report.total:
                logger.warning("sglang-triage: during warm-up: %s", report.counts)
            self._judged(watch, report)

    # -- what a step's report means ----------------------------------------------------------

    def _judge(self, watch: Watch, report: StepReport, batch: Any) -> None:
        try:
            self._tell(watch, report, batch)
        finally:
            self._judged(watch, report)

    @staticmethod
    def _judged(watch: Watch, report: StepReport) -> None:
        """What was kept of its launches is not needed any more."""
        if watch.kept_slots is not None:
            watch.kept_slots.release(before=report.launches[1])

    def _tell(self, watch: Watch, report: StepReport, batch: Any) -> None:
        self.history.note_step(report.step, *report.launches)
        if report.counts:
            report = self._less_excused(report)
        if report.counts:
            self._unsound.add(report.step)
            # Containment is never silent: what it changed is told, whichever was asked for.
            only = self.reporter.enabled | (CONTAINED if watch.mode == "contain" else set())
            if any(name in only for name in report.counts):
                known = report
                if self.reporter.mode != "log":
                    raise trap_error(
                        lambda: self._error(watch, known, only, batch),
                        next(name for name in known.counts if name in only),
                    )
                attempt("telling a finding", lambda: self._log(watch, known, only, batch), None)
        try:
            watch.listen()
        except CheckerSilent as silence:
            # A checker that does not run is ours to mend, not the server's to die of.
            self.reporter.counts["heartbeats missed"] += 1
            self.reporter.shells.failures["device checker"] = str(silence)
            logger.error("sglang-triage: %s", silence)

    def _less_excused(self, report: StepReport) -> StepReport:
        """Without the rows that the scheduler moved while the step was queued (`in_flight.py`)."""
        left = self.in_flight.without_excused(report, self.watching.entries.page_size())
        excused = report.total - left.total
        if excused and not self.reporter.counts["offenders of rows moved in flight"]:
            logger.info(
                "sglang-triage: step %d: %d entries of rows that were given back or rewritten "
                "while the step was queued are not judged; further ones are counted",
                report.step,
                excused,
            )
        self.reporter.counts["offenders of rows moved in flight"] += excused
        return left

    def _evidence(
        self, watch: Watch, report: StepReport, only: Collection[str]
    ) -> tuple[type[TrapError], Evidence]:
        """What the step found, and which error that is."""
        evidence = attempt(
            "reading the offenders",
            lambda: watch.evidence(report, only),
            _bare_evidence(report, only),
        )
        self.reporter.note_violation(evidence.invariant)
        order = [] if self.order is None else self.order.sentences(report.step)
        if order:
            evidence.facts["order"] = order
        stale = str(evidence.facts.get("stale") or "") if evidence.invariant in _BY_IDS else ""
        if stale:
            _, _, counted = evidence.summary.partition("; ")
            evidence = replace(evidence, summary=f"{stale}; {counted}")
        return StaleSWAState if stale else error_of(evidence.invariant), evidence

    def _error(
        self, watch: Watch, report: StepReport, only: Collection[str], batch: Any
    ) -> TrapError:
        error, evidence = self._evidence(watch, report, only)
        evidence.facts["output"] = INVALID
        return self._failure(error, evidence, report, batch, f"{INVALID} and was not released\n")

    def _log(self, watch: Watch, report: StepReport, only: Collection[str], batch: Any) -> None:
        """The first of each kind with a dump, then the 2nd, 4th, 8th ... in one line."""
        error, evidence = self._evidence(watch, report, only)
        kind = (evidence.invariant, evidence.pool)
        self._logged[kind] += 1
        seen = self._logged[kind]
        if seen == 1:
            failure = trap_error(
                lambda: self._failure(error, evidence, report, batch), evidence.invariant
            )
            logger.error("sglang-triage: %s", printed(failure))
        elif seen & (seen - 1) == 0:
            fault = self.reporter.with_request_ids(Dump(fault=evidence), batch).fault
            logger.error("sglang-triage: %d steps with: %s", seen, fault.headline())

    def _failure(
        self,
        error: type[TrapError],
        evidence: Evidence,
        report: StepReport,
        batch: Any,
        before: str = "",
    ) -> TrapError:
        """With the dump of the first launch that was wrong, as the ring has it."""
        dump = attempt(
            "reading the launch out of the ring",
            lambda: self._dumped(evidence, report),
            Dump(fault=evidence),
        )
        return self.reporter.failure(error, dump, before, batch)

    def _dumped(self, evidence: Evidence, report: StepReport) -> Dump:
        if evidence.facts.get("stream"):
            evidence, recorded = self.recorded_slots(evidence, report)
            return self.history.dump(evidence, self.history.entries(), recorded)
        first = evidence.facts.get("launch")
        history = self.history.entries(check=first if isinstance(first, int) else None)
        entry = next((each for each in history if each["checker_launch"] == first), None)
        offenders, excused = (
            [each.violation for each in found if each.launch == first]
            for found in (report.offenders, report.excused)
        )
        complete = isinstance(first, int) and first < report.whole_before
        recorded = attempt(
            "reading the launch out of the ring",
            lambda: (
                None
                if entry is None
                else launch_of(entry, offenders, complete=complete, excused=len(excused))
            ),
            None,
        )
        if recorded is not None and entry is not None and not self._device_lost:
            known, of = recorded, entry
            recorded = attempt("request rows", lambda: self.with_rows(known, of), known)
        return self.history.dump(evidence, history, recorded)


def _bare_evidence(report: StepReport, only: Collection[str]) -> Evidence:
    """What the counts alone say, for where the offenders cannot be read."""
    counts = {name: count for name, count in report.counts.items() if name in only}
    first = first_of(counts)
    return Evidence(
        first,
        sentence(first),
        f"step {report.step}",
        total=sum(counts.values()),
        facts={"counts": counts},
    )
