"""Modes `contain` and `log`: every launch watched, nothing waited for, reported one step later.

The failure: an armed server that is slower, or that dies of its own guard. The
rule: at each launch at most one check and one recording per table, none for
the layers that share it; what the kernels found is reported when its copy has
arrived; and what cannot be watched is counted under its reason, never passed
off as clean.

    begin    a forward or a capture begins: nothing of it has been watched
    launch   what the attention may read: in `contain` a copy, in `log` what it was given
    end      the forward is on its way, or the graph was replayed
    poll     before tokens leave the scheduler: evidence of earlier steps

This module knows tensors, not SGLang: the caller says which table belongs to
which lane, and raises what `poll` returns.

Long because it is the one object that a stream is watched through.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from triton.errors import TritonError

from triage.device.checker import CheckRefused, DeviceChecker, StepReport
from triage.device.checker_kernels import INVARIANTS
from triage.device.contain import Containment
from triage.device.kept_slots import KeptSlots
from triage.device.launches import RecordLaunch, TableLaunch
from triage.device.recorder import FlightRecorder, LaneSpec
from triage.errors import TriageError, log_own_error, type_and_place
from triage.evidence import Evidence
from triage.invariants.catalogue import BY_NAME, first_of, sentence
from triage.invariants.packed_slots import SLOT_SENTENCES
from triage.invariants.reads import IndexSpace

logger = logging.getLogger("triage")

Mode = Literal["contain", "log"]


class CheckerSilent(TriageError):
    """The checker is armed, forwards go by, and it does not run."""


@dataclass(slots=True)
class _Watched:
    """The newest launch of a lane: how it was asked for, and what it may read.

    It holds the tensors, so that their addresses cannot pass to others meanwhile.
    """

    table: Tensor
    lengths: Tensor
    queries: int | Tensor | None
    window_left: int
    space: IndexSpace
    read: tuple[Tensor, Tensor]


@dataclass(slots=True)
class _Repeat:
    """The kernel launches of a lane's newest table."""

    check: TableLaunch
    record: RecordLaunch | None


def _same(one: int | Tensor | None, other: int | Tensor | None) -> bool:
    if one is other:
        return True
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return isinstance(one, int) and isinstance(other, int) and one == other
    return (
        one.data_ptr() == other.data_ptr()
        and one.shape == other.shape
        and one.stride() == other.stride()
        and one.dtype == other.dtype
    )


class Watch:
    """Checker, containment and recorder of one stream.

    Args:
        device: where the tables live.
        lanes: one per index space and role ("full", "swa", "draft full", ...). All
            memory is taken here, before any capture.
        mode: `contain` redirects, `log` does not.
        slots: launches the recorder keeps per lane.
        heartbeat: forwards without a check after which `poll` raises.
        snapshots: ends that may be on their way at once.
        largest: rows and columns of the largest table, if lanes record less of it.
    """

    def __init__(
        self,
        device: torch.device | str,
        lanes: Sequence[LaneSpec],
        *,
        mode: Mode,
        slots: int = 256,
        heartbeat: int = 100,
        snapshots: int = 4,
        largest: tuple[int, int] | None = None,
    ) -> None:
        self.mode = mode
        self.checker = DeviceChecker(device, snapshots=snapshots)
        self.recorder: FlightRecorder | None = FlightRecorder(
            device, lanes, slots=slots, checker=self.checker
        )
        self._contain = None
        if mode == "contain":
            rows, columns = largest or (
                max(lane.max_rows for lane in lanes),
                max(lane.max_columns for lane in lanes),
            )
            names = [lane.name for lane in lanes]
            self._contain = Containment(self.checker, names, max_rows=rows, max_columns=columns)
        self._heartbeat = heartbeat
        self._heard = 0
        self._watched: dict[str, _Watched] = {}
        self._repeats: dict[str, _Repeat] = {}
        self._facts: dict[int, dict[str, Any]] = {}
        self._tags: dict[tuple[tuple[str, Any], ...], int] = {}
        self.refused: Counter[str] = Counter()
        self._told_room = False
        self.kept_slots: KeptSlots | None = None  # taken by whoever has launches over slots
        self.launches = 0  # watched, checked or seen before
        self.checks = 0

    def begin(self) -> None:
        """A forward or a capture begins: its tables are new, even at old addresses."""
        self._watched.clear()

    def seen(
        self,
        lane: str,
        block_tables: Tensor,
        cache_seqlens: Tensor,
        queries: int | Tensor | None,
        window_left: int,
        space: IndexSpace,
    ) -> tuple[Tensor, Tensor] | None:
        """What a launch may read if the lane's newest one was the same; None if it was not.

        Call it first at every layer: it is what makes the cost independent of their
        number. `queries` is `q_len` or, where given, `cum_seq_lens_q`.
        Cost: under a microsecond for the very objects of the newest launch.
        """
        watched = self._watched.get(lane)
        if (
            watched is not None
            and (watched.table is block_tables or _same(watched.table, block_tables))
            and (watched.lengths is cache_seqlens or _same(watched.lengths, cache_seqlens))
            and watched.window_left == window_left
            and (watched.queries is queries or _same(watched.queries, queries))
            and (watched.space is space or watched.space == space)
        ):
            self.launches += 1
            return watched.read
        return None

    def launch(
        self,
        lane: str,
        block_tables: Tensor,
        cache_seqlens: Tensor,
        space: IndexSpace,
        *,
        facts: dict[str, Any] | None = None,
        window_left: int,
        q_len: int | Tensor = 1,
        cum_seq_lens_q: Tensor | None = None,
        req_pool_indices: Tensor | None = None,
        **expected: Any,
    ) -> tuple[Tensor, Tensor]:
        """Watch one attention launch; return the table and the lengths it may read.

        Args:
            lane: names the recorder's ring and the containment's buffer.
            facts: what the host knows of the launch (layer, mode, graph), plain values.
            expected: `req_to_token`, `full_to_swa`, `num_real_rows`, `check_padding`,
                `padded_length`, as `DeviceChecker.check_table` takes them.
        Cost: that of `seen` where the lane's newest launch was the same; else two
            kernel launches. No sync, legal under capture.
        """
        queries = q_len if cum_seq_lens_q is None else cum_seq_lens_q
        read = self.seen(lane, block_tables, cache_seqlens, queries, window_left, space)
        if read is not None:
            return read
        self.launches += 1
        tag = self.tag(**(facts or {}))
        options: dict[str, Any] = {
            "window_left": window_left,
            "q_len": q_len,
            "cum_seq_lens_q": cum_seq_lens_q,
            "req_pool_indices": req_pool_indices,
            "tag": tag,
        }
        read, check = (block_tables, cache_seqlens), None
        try:
            if self._contain is None or not self._room(block_tables):
                check = self.checker.check_table(
                    block_tables, cache_seqlens, space, **options, **expected
                )
            else:
                read = self._contain.redirect(
                    block_tables, cache_seqlens, space, lane=lane, **options, **expected
                )
                check = self._contain.newest
            self.checks += 1
            accepted = True
        except CheckRefused as reason:
            self.refuse(str(reason))
            accepted = False
        record = self._record(lane, block_tables, cache_seqlens, checked=accepted, **options)
        self._watched[lane] = _Watched(
            block_tables, cache_seqlens, queries, window_left, space, read
        )
        self._repeats.pop(lane, None)
        if check is not None:
            self._repeats[lane] = _Repeat(check, record)
        return read

    def relaunch(
        self,
        lane: str,
        block_tables: Tensor,
        cache_seqlens: Tensor,
        cum_seq_lens_q: Tensor | None,
        req_pool_indices: Tensor | None,
    ) -> bool:
        """Watch a launch like the lane's newest one, of which only these tensors are new.

        The caller knows that they have the very form of those before, and that all else
        it told `launch` is the same; so is what the launch may read. False if that launch
        cannot be repeated: call `launch`. Cost: two kernel launches.
        """
        repeat = self._repeats.get(lane)
        if repeat is None:
            return False
        self._watched.pop(lane, None)  # the copy that it may read is overwritten
        repeat.check(block_tables, cache_seqlens, cum_seq_lens_q, req_pool_indices)
        if repeat.record is not None and self.recorder is not None:
            try:
                repeat.record(block_tables, cache_seqlens, cum_seq_lens_q, req_pool_indices)
            except (RuntimeError, TritonError) as error:
                self._recorder_off(error)
        self.launches += 1
        self.checks += 1
        return True

    def end(self, step: int) -> bool:
        """The work of a step is queued on the current stream; its state follows it.

        False if it could not be sent: then the next one covers this step too.
        """
        return self.checker.mark(step)

    def poll(self, *, wait: bool = False) -> tuple[Evidence, ...]:
        """Evidence of the steps that have arrived since the last poll, oldest first.

        Raises:
            CheckerSilent: too many steps in a row without a check.
        Cost: an event query per step on its way; with `wait` a sync.
        """
        reports = self.checker.poll(wait=wait)
        self.listen()
        return tuple(self.evidence(report) for report in reports if report.total)

    def listen(self) -> None:
        """Raise CheckerSilent if no check ran in `heartbeat` polled steps; count again from 0."""
        silent = self.checker.marks_without_launch
        if silent - self._heard < self._heartbeat:
            self._heard = min(self._heard, silent)
            return
        self._heard = silent
        refused = f"; refused: {dict(self.refused)}" if self.refused else ""
        raise CheckerSilent(f"no check ran in {silent} forwards{refused}")

    def facts_of(self, tag: int) -> dict[str, Any]:
        """What the host knew of the launches with this tag."""
        return self._facts.get(tag, {})

    # -- helpers ----------------------------------------------------------------------------

    def _room(self, table: Tensor) -> bool:
        """False for a table of pages of one token, as wide as a row: it is told, not redirected."""
        if self._contain is None or table.dim() != 2 or self._contain.has_room(*table.shape):
            return True
        if not self._told_room:
            self._told_room = True
            logger.warning(
                "sglang-triage: a table of %d x %d is checked as it is: no copy has room for it",
                *table.shape,
            )
        return False

    def _record(
        self, lane: str, table: Tensor, lengths: Tensor, *, checked: bool, **options: Any
    ) -> RecordLaunch | None:
        if self.recorder is None:
            return None
        try:
            self.recorder.record(lane, table, lengths, checked=checked, **options)
        except (RuntimeError, TritonError) as error:
            self._recorder_off(error)
            return None
        return self.recorder.newest

    def _recorder_off(self, error: Exception) -> None:
        """The recorder is not worth a server: without it the traps still stand."""
        log_own_error(
            "sglang-triage failed in its own code: %s. The flight recorder is off; checks go on",
            type_and_place(error),
            error=error,
        )
        self.refused[f"recorder: {type(error).__name__}"] += 1
        self.recorder = None

    def refuse(self, reason: str) -> None:
        """Count what could not be watched, and log each reason once."""
        if reason not in self.refused:
            logger.error("sglang-triage: a launch is not covered: %s", reason)
        self.refused[reason] += 1

    def tag(self, **facts: Any) -> int:
        """A number for what the host knows of a launch; the same facts get the same."""
        if self.recorder is not None:
            tag = self.recorder.tag(**facts)
        else:
            tag = self._tags.setdefault(tuple(sorted(facts.items())), len(self._tags))
        self._facts[tag] = facts
        return tag

    def evidence(self, report: StepReport, only: Collection[str] = INVARIANTS) -> Evidence:
        """One step's report as evidence: its cause, its first launch, who was told what.

        only: the invariants that are to be reported; the report has at least one of them.
        """
        counts = {name: n for name, n in report.counts.items() if name in only}
        first = first_of(counts)
        offenders = sorted(
            (o for o in report.offenders if o.violation.invariant in counts),
            key=lambda o: (o.violation.invariant != first, o.launch, o.violation.row),
        )
        facts: dict[str, Any] = {}
        launch = report.launches[0]
        if offenders:
            launch = offenders[0].launch
            facts = self.facts_of(offenders[0].tag)
        done = BY_NAME[first].containment if self.mode == "contain" else ""
        rows = {(o.launch, o.violation.row) for o in offenders}
        total = sum(counts.values())
        wrong = SLOT_SENTENCES.get(first) if facts.get("stream") else None
        return Evidence(
            invariant=first,
            summary=f"{wrong or sentence(first)}; {total} in the step, "
            f"{done or 'left as they were'}; this step's output is invalid",
            where=f"step {report.step}, checked launch {launch}",
            pool=str(facts.get("space", "")),
            layer_id=facts.get("layer_id"),
            forward_mode=str(facts.get("forward_mode", "")),
            total=total,
            rows_affected=len(rows),
            violations=tuple(offender.violation for offender in offenders),
            facts={**facts, "counts": counts, "step": report.step, "launch": launch},
        )
