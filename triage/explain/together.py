"""Several inputs explained together: dumps, and what other tools saw.

The rule: put every report in the order in which it happened, name the rank that faulted
first, and set what other tools saw beside the launch of a dump where there is one. What is
not recognised is named as unknown and shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from triage.dump.kernel_names import Role, kernel_of
from triage.dump.observation import (
    DEVICE_FAULTS,
    FACT,
    Failure,
    Form,
    Observation,
    as_fact,
    observations_of,
)
from triage.dump.sections import Dump
from triage.explain import Explanation, explain
from triage.explain.advice import Reading, read
from triage.explain.rules_log import told_by_a_log
from triage.explain.side_by_side import with_plans, with_stragglers

_FOLLOW = frozenset(
    {
        *(Failure.ENDED, Failure.HUNG, Failure.STOPPED, Failure.CALL, Failure.BALANCED),
        *(Failure.NOT_LOADED, Failure.UNKNOWN),
    }
)


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that was given, and what it is.

    problem: why it tells less than it could. unread: it could not be read at all.
    shown: lines of what is not recognised. page_size: where a log's text tells it.
    """

    path: str
    recognised: str
    dump: Dump | None = None
    observations: tuple[Observation, ...] = ()
    page_size: int | None = None
    problem: str = ""
    unread: bool = False
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RankReport:
    """What one rank reported first. `collateral`: only that another one ended."""

    rank: str
    observation: Observation
    collateral: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All inputs together. `explanations` are (path, explanation) of those that hold a launch
    or a fault of their own; `readings` one per observation, in the order of `observations`."""

    inputs: tuple[Input, ...]
    observations: tuple[Observation, ...]
    readings: tuple[Reading, ...]
    ranks: tuple[RankReport, ...]
    explanations: tuple[tuple[str, Explanation], ...]
    notes: tuple[str, ...] = ()

    @property
    def recognised(self) -> bool:
        return any(each.dump or each.problem or self.observations for each in self.inputs)

    @property
    def status(self) -> str:
        """That of the explanations, the most telling one; `unknown` where there is none."""
        found = {explanation.status for _, explanation in self.explanations}
        order = ("named", "ambiguous", "unknown", "clean")
        return next((status for status in order if status in found), "unknown")

    @property
    def stopped(self) -> bool:
        """Is a stop that was asked for all that was found? No launch lies beside it."""
        harmless = {Failure.STOPPED, Failure.NOT_LOADED, Failure.CALL, Failure.BALANCED}
        failures = {each.failure for each in self.observations}
        return not self.explanations and Failure.STOPPED in failures and failures <= harmless

    @property
    def missing(self) -> tuple[str, ...]:
        """What would be needed to name a cause; nothing where one is named."""
        if any(explanation.named for _, explanation in self.explanations):
            return ()
        missing = [each for reading in self.readings for each in reading.missing]
        for _, explanation in self.explanations:
            missing += [each for seen in explanation.related for each in seen.missing]
            missing += [each for cause in explanation.possible for each in cause.missing]
        if not self.explanations and any(map(_launch_would_tell, self.observations)):
            missing.append("a dump of this tool: the page table and lengths of the launch")
        return tuple(dict.fromkeys(missing))

    @property
    def next(self) -> tuple[str, ...]:
        """Commands, the most telling first."""
        steps = [each for reading in self.readings for each in reading.next]
        if self.explanations:  # a dump lies beside it already
            steps = [each for each in steps if not each.startswith("triage explain ")]
        return tuple(dict.fromkeys(steps))

    def as_dict(self) -> dict[str, Any]:
        first = next((each for each in self.ranks if not each.collateral), None)
        explained = [explanation for _, explanation in self.explanations]
        return {
            "status": self.status,
            "named": list(dict.fromkeys(c.key for each in explained for c in each.named)),
            "causes": [cause.as_dict() for each in explained for cause in each.causes],
            "observed": [text for each in explained for text in each.observed],
            "inputs": [
                {
                    "path": each.path,
                    "recognised": each.recognised,
                    "problem": each.problem,
                    "unknown": list(each.shown),
                }
                for each in self.inputs
            ],
            "first": None if first is None or not first.rank else first.rank,
            "ranks": [
                {
                    "rank": each.rank,
                    "failure": each.observation.failure.value,
                    "source": each.observation.source,
                    "line": each.observation.line,
                    "time": each.observation.time,
                    "collateral": each.collateral,
                }
                for each in self.ranks
            ],
            "observations": [
                {**seen.as_plain(), **reading.as_dict()}
                for seen, reading in zip(self.observations, self.readings, strict=True)
            ],
            "explanations": [
                {"path": path, **explanation.as_dict()} for path, explanation in self.explanations
            ],
            "missing": list(self.missing),
            "next": list(self.next),
            "notes": list(self.notes),
        }


def _launch_would_tell(seen: Observation) -> bool:
    """Would the page table of a launch say more about it?"""
    if seen.form is Form.CANARY:
        return True
    kernel = kernel_of(seen.kernel, seen.kernel_at)
    other = kernel is not None and kernel.attention is False and kernel.role is not Role.WRITES_KV
    elsewhere = seen.space in ("shared", "local") or seen.failure is Failure.ASSERT
    return seen.failure in DEVICE_FAULTS and not other and not elsewhere


def together(inputs: Sequence[Input]) -> Report:
    """Explain what was read, all of it together."""
    observations = _in_order(each for given in inputs for each in given.observations)
    observations = tuple(_with_page_size(each, inputs) for each in observations)
    observations = with_plans(with_stragglers(observations))
    explanations, notes = _explanations(inputs, observations)
    return Report(
        tuple(inputs),
        observations,
        tuple(read(each) for each in observations),
        _ranks(observations),
        explanations,
        tuple(notes),
    )


def with_observations(dump: Dump, observations: tuple[Observation, ...]) -> Dump:
    """`dump` with these among its fault's facts, after those that it holds already."""
    facts = {name: value for name, value in dump.fault.facts.items() if name != "cuda_faults"}
    facts[FACT] = as_fact((*observations_of(dump.fault.facts), *observations))
    return replace(dump, fault=replace(dump.fault, facts=facts))


# -- observations in order ----------------------------------------------------------------------


def _in_order(found: Iterable[Observation]) -> tuple[Observation, ...]:
    """By time where all of a source's reports have one of the same clock, else as they stand."""
    listed = list(found)
    clocks = {_clock(each.time) for each in listed}
    if len(clocks) == 1 and "" not in clocks:
        listed.sort(key=lambda each: each.time or 0.0)
    return tuple(listed)


def _clock(time: float | None) -> str:
    """Whose stamps can be compared: dates with a year, without one, or "" for any other."""
    if time is None or time < _YEARLESS[0]:
        return ""
    return "without a year" if time < _YEARLESS[1] else "with a year"


_YEARLESS = (63_072_000, 94_694_400)
"""The seconds of 1972, which stamps without a year are given (`importers/lines.py`)."""


def _with_page_size(seen: Observation, inputs: Sequence[Input]) -> Observation:
    """The page size that the same log, or a dump beside it, tells for a pool's sums."""
    if seen.form is not Form.LEAK or "page_size" in seen.values:
        return seen
    sizes = {given.page_size for given in inputs if given.page_size}
    sizes |= {
        given.dump.launch.page_size
        for given in inputs
        if given.dump is not None and given.dump.launch is not None
    }
    if len(sizes) != 1:
        return seen
    return replace(seen, values={**seen.values, "page_size": sizes.pop()})


def _ranks(observations: Sequence[Observation]) -> tuple[RankReport, ...]:
    """The first report of each rank, the earliest first; those that only followed last."""
    first: dict[str, Observation] = {}
    for each in observations:
        before = first.get(each.rank)
        if before is None or (before.failure in _FOLLOW and each.failure not in _FOLLOW):
            first[each.rank] = each
    faults = [each for each in first.values() if each.failure not in _FOLLOW]
    others = [
        each
        for each in first.values()
        if each.failure is Failure.ENDED or "collective" in each.values
    ]
    return tuple(
        RankReport(each.rank, each, collateral)
        for group, collateral in ((faults, False), (others, True))
        for each in group
    )


# -- explanations ---------------------------------------------------------------------------------


def _explanations(
    inputs: Sequence[Input], observations: tuple[Observation, ...]
) -> tuple[tuple[tuple[str, Explanation], ...], list[str]]:
    dumps = [each for each in inputs if each.dump is not None]
    found, notes = [], []
    placed = 0
    for given in dumps:
        assert given.dump is not None
        mine = observations if len(dumps) == 1 else _of_process(given.dump, observations)
        placed += len(mine)
        dump = with_observations(given.dump, mine) if mine else given.dump
        found.append((given.path, explain(dump)))
    if len(dumps) > 1 and observations and not placed:
        notes.append(
            "several dumps and a log: no pid tells which dump the log's reports belong to; give "
            "one dump with it to set them side by side"
        )
    causes = [(each.source, told_by_a_log(each)) for each in observations]
    told = {source: cause for source, cause in reversed(causes) if cause is not None}
    found += [(source, Explanation((cause,), ())) for source, cause in told.items()]
    return tuple(found), notes


def _of_process(dump: Dump, observations: tuple[Observation, ...]) -> tuple[Observation, ...]:
    """Those that name the dump's process."""
    pid = dump.provenance.get("pid")
    return tuple(
        each
        for each in observations
        if pid is not None
        and (each.values.get("pid") == pid or f" {each.rank}".endswith(f" pid {pid}"))
    )
