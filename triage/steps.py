"""What the device found, brought to the host before a step's tokens leave the scheduler.

The scheduler launches a step and looks at its result later (one step later under
overlap). In between, SGLang itself waits for the event behind the copy of that
result to the host; the mark of a step lies before that event on the same stream.

    begin         a step is about to be launched: its number
    forward_done  behind the target's forward, on its stream: the mark
    release       before the step's tokens are looked at: waits for that mark, then
                  raises the step's TrapError, or logs it in mode `log`

Not covered: what a draft reads after the target's forward of its step shows in the
next step's mark; its tokens are proposals that the target verifies.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from triage import capture
from triage.collect import provenance
from triage.device import Offender, StepReport
from triage.errors import StaleSWAState, TrapError, TrapSilent
from triage.evidence import Evidence
from triage.faults import SUMMARY, first_of, typed
from triage.record import Dump

if TYPE_CHECKING:
    from triage.traps import Traps

logger = logging.getLogger("triage")

HEARTBEAT = 100
REMEMBERED = 1024
INVALID = "the output of this step is invalid"


class Steps:
    """The steps of one scheduler. One thread."""

    def __init__(self, traps: Traps, heartbeat: int = HEARTBEAT) -> None:
        self.traps = traps
        self.heartbeat = heartbeat
        self.current = 0
        self.launches: deque[tuple[int, int, int]] = deque(maxlen=REMEMBERED)
        self._reports: deque[StepReport] = deque()
        self._logged: Counter[tuple[str, str]] = Counter()
        self._silent = 0
        self._device_lost = False

    # -- what the scheduler does -----------------------------------------------------------

    def begin(self) -> int:
        """A step is about to be launched. The first one drops what warm-up left behind."""
        if self.current == 0:
            self._absorb_warm_up()
        self.current += 1
        return self.current

    def forward_done(self) -> None:
        """Send the checker's state to the host behind the target's forward.

        Call it on the stream the forward ran on. Cost: one async copy and one event;
        a wait only if eight marks are on their way, SGLang has two at most.
        """
        instruments = self.traps.watch.instruments
        if instruments is None or capture.capturing() or self._device_lost:
            return
        if not self.traps.watch.forward_done():
            return
        checker = instruments.checker
        try:
            if not checker.mark(self.current):
                self.traps.counts["marks that waited"] += 1
                self._reports.extend(checker.poll(until=checker.oldest_step))
                checker.mark(self.current)
        except RuntimeError as error:
            self._lose_device(error)

    def release(self, step: int | None) -> None:
        """Raise what the checks of `step` and of the steps before it found.

        Waits for the mark of that step: SGLang waits for the later copy of its result
        right after, so no sync is added. None, a result of unknown origin, waits for
        every mark.
        """
        self._poll(step)
        while self._reports and (step is None or self._reports[0].step <= step):
            self._judge(self._reports.popleft())

    def _poll(self, step: int | None) -> None:
        instruments = self.traps.watch.instruments
        if instruments is None or self._device_lost:
            return
        try:
            if step is None:
                self._reports.extend(instruments.checker.poll(wait=True))
            else:
                self._reports.extend(instruments.checker.poll(until=step))
        except RuntimeError as error:
            self._lose_device(error)

    def _lose_device(self, error: RuntimeError) -> None:
        """A CUDA error is SGLang's to report: it meets the same one at its own next call."""
        self._device_lost = True
        logger.error("sglang-triage: the device is lost, checks end here: %s", error)

    def _absorb_warm_up(self) -> None:
        """Warm-up and capture run on dummy batches; what they left is logged, not raised."""
        instruments = self.traps.watch.instruments
        if instruments is None:
            return
        instruments.checker.mark(0)
        for report in instruments.checker.poll(wait=True):
            if report.total:
                logger.warning("sglang-triage: during warm-up: %s", report.counts)

    def step_of(self, check: int | None) -> int | None:
        """The step that the checker's launch belongs to; None if not known yet, or any more."""
        if check is None:
            return None
        for step, low, high in self.launches:
            if low <= check < high:
                return step
        return None

    # -- what a step's report means ----------------------------------------------------------

    def _judge(self, report: StepReport) -> None:
        self.launches.append((report.step, *report.launches))
        self._listen(report)
        enabled = self.traps.enabled | ({"I1", "I26"} if self.traps.watch.contain else set())
        counts = {name: n for name, n in report.counts.items() if name in enabled}
        if counts:
            self._fire(report, counts)

    def _fire(self, report: StepReport, counts: dict[str, int]) -> None:
        self.traps.counts["violations"] += 1
        first = first_of(counts)
        offenders = [o for o in report.offenders if o.violation.invariant in counts]
        offenders.sort(key=lambda o: (o.violation.invariant != first, o.launch))
        facts = self._facts(offenders)
        stale = str(facts.get("stale") or "") if first in ("I1", "I2") else ""
        evidence = _evidence(report, counts, first, offenders, facts, stale)
        error = StaleSWAState if stale else typed(first)
        if self.traps.mode == "log":
            self._log(error, evidence)
            return
        evidence.facts["output"] = INVALID
        raise error(evidence, f"{INVALID} and was not released\n{self._save(evidence, error)}")

    def _facts(self, offenders: list[Offender]) -> dict[str, Any]:
        instruments = self.traps.watch.instruments
        if not offenders or instruments is None:
            return {}
        return instruments.recorder.facts_of(offenders[0].tag)

    def _log(self, error: type[TrapError], evidence: Evidence) -> None:
        """The first of each kind with a dump, then the 2nd, 4th, 8th ... in one line."""
        kind = (evidence.invariant, evidence.pool)
        self._logged[kind] += 1
        seen = self._logged[kind]
        if seen == 1:
            logger.error("sglang-triage: %s", error(evidence, self._save(evidence, error)))
        elif seen & (seen - 1) == 0:
            logger.error("sglang-triage: %d steps with: %s", seen, evidence.headline())

    def _save(self, evidence: Evidence, error: type[TrapError]) -> str:
        history = self.traps.history.entries()
        dump = Dump(fault=evidence, history=history, provenance=provenance())
        return self.traps.save(dump, error)

    # -- the heartbeat -------------------------------------------------------------------------

    def _listen(self, report: StepReport) -> None:
        """A checker that is armed and does not run is a fault of its own."""
        ran = report.launches[1] > report.launches[0]
        self._silent = 0 if ran else self._silent + 1
        if not self._silent or self._silent % self.heartbeat:
            return
        silence = TrapSilent(
            f"armed, but no check ran in {self._silent} forwards that built attention metadata, "
            f"the last of them step {report.step}"
        )
        self.traps.counts["heartbeats missed"] += 1
        if self.traps.mode == "log":
            logger.error("sglang-triage: %s", silence)
            return
        raise silence


def _evidence(
    report: StepReport,
    counts: dict[str, int],
    first: str,
    offenders: list[Offender],
    facts: dict[str, Any],
    stale: str,
) -> Evidence:
    launch = offenders[0].launch if offenders else report.launches[0]
    same = [o.violation for o in offenders if o.launch == launch]
    kind = "replayed" if facts.get("graph") else "launched"
    total = sum(counts.values())
    return Evidence(
        invariant=first,
        summary=stale or SUMMARY[first],
        where=f"step {report.step}, check {launch}, {kind} {facts.get('kind', '')}".rstrip(),
        pool=_pool(facts),
        layer_id=facts.get("layer_id"),
        forward_mode=str(facts.get("forward_mode", "")),
        total=total,
        rows_affected=len({(o.launch, o.violation.row) for o in offenders}),
        violations=tuple(sorted(same, key=lambda v: (v.invariant != first, v.row, v.column))),
        facts={
            "counts": counts,
            "step": report.step,
            "check": launch,
            "checks of the step": list(report.launches),
            "launch": dict(facts),
        },
    )


def _pool(facts: dict[str, Any]) -> str:
    return str(facts.get("pool", ""))
