"""Dumps of a server's ranks as one report: who diverged, when, and whether they share a cause.

Dumps of several runs in one directory are told apart by the process that launched them; the
newest run is compared, the others are counted. Ranks without a dump, clocks that differ,
mixed versions of the format and rings without fingerprints are said, none is passed over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from triage.ranks.divergence import BY_ALARM, BY_MAJORITY, LAUNCHES, Compared, first_divergence
from triage.ranks.reading import Place, RankDump, Reading, read

CLOCKS_APART_S = 60
EXIT_AGREE, EXIT_DIVERGED, EXIT_NOTHING = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Group:
    """Ranks that must hold the same tables. `expected`: TP ranks of the server, 0: not recorded."""

    dumps: dict[Place, tuple[RankDump, ...]]
    expected: int
    compared: Compared

    @property
    def missing(self) -> list[int]:
        """TP ranks without a dump."""
        return sorted(set(range(self.expected)) - {place.tp for place in self.dumps})


@dataclass(frozen=True, slots=True)
class Merged:
    """What the dumps say together. notes: what a reader has to know of what was not compared."""

    reading: Reading
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 the ranks agree, 1 they diverged, 3 there was nothing to compare."""
        if any(group.compared.divergence for group in self.groups):
            return EXIT_DIVERGED
        compared = any(group.compared.launches for group in self.groups)
        return EXIT_AGREE if compared else EXIT_NOTHING

    @property
    def causes(self) -> dict[Place, tuple[str, ...]]:
        """Of each rank that raised an alarm or crashed, the causes that fit best."""
        found: dict[Place, tuple[str, ...]] = {}
        for group in self.groups:
            for place, dumps in group.dumps.items():
                told = [dump for dump in dumps if dump.alarm or dump.kind == "crash"]
                if told:
                    first = next((dump for dump in told if dump.alarm), told[0])
                    found[place] = first.causes
        return found

    def share(self) -> str:
        """Do all share the cause? One sentence."""
        causes, ranks = self.causes, sum(len(group.dumps) for group in self.groups)
        named = {place: keys for place, keys in causes.items() if keys}
        if not causes:
            return "no rank raised an alarm or crashed"
        if not named:
            return f"{_ranks(causes)}: cause unknown"
        said = "; ".join(f"{place.name}: {', '.join(keys)}" for place, keys in named.items())
        unknown = [place for place in causes if place not in named]
        if len(set(named.values())) > 1:
            said = f"the cause is not shared: {said}"
        elif len(named) > 1 and not unknown:
            said = f"the cause is shared: {said}"
        elif unknown:
            also = f"{_ranks(unknown)} raised an alarm or crashed, of a cause unknown"
            return f"{said}; {also}: whether it is the same cannot be told"
        else:
            said = f"one rank raised an alarm, no cause to share: {said}"
        sound = ranks - len(causes)
        return f"{said}; {sound} of {ranks} ranks raised none" if sound else said

    def headline(self) -> str:
        """Who and when, in one sentence."""
        for group in self.groups:
            if group.compared.divergence is not None:
                return _diverged(group)
        launches = sum(group.compared.launches for group in self.groups)
        if not launches:
            return "nothing to compare: no launch was recorded by two ranks"
        return "; ".join(_agreed(group) for group in self.groups if group.compared.launches)

    def lines(self) -> list[str]:
        """The report for a terminal."""
        said = [self.headline(), self.share(), ""]
        for group in self.groups:
            for place, dumps in sorted(group.dumps.items()):
                for dump in dumps:
                    said.append(_dump_line(place, dump))
            said += [f"tp {rank}: no dump" for rank in group.missing]
        said += [f"note: {note}" for note in self.notes]
        return said

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "headline": self.headline(),
            "share": self.share(),
            "files": self.reading.files,
            "used": sum(len(d) for group in self.groups for d in group.dumps.values()),
            "left_out": [
                {"path": str(path), "why": why} for path, why in self.reading.left_out.items()
            ],
            "notes": list(self.notes),
            "groups": [_group_dict(group) for group in self.groups],
        }


def merge(given: Sequence[Path]) -> Merged:
    """Read, align and compare. Raises DumpError where there is nothing to read. No torch."""
    reading = read(given)
    notes: list[str] = []
    dumps = _newest_run(reading)
    by_group: dict[tuple[int, int, int], dict[Place, list[RankDump]]] = defaultdict(dict)
    for dump in dumps:
        by_group[dump.place.group].setdefault(dump.place, []).append(dump)
    groups = []
    for _, ranks in sorted(by_group.items()):
        held = {place: tuple(of) for place, of in sorted(ranks.items())}
        expected = max((d.sizes.get("tp_size", 0) for of in held.values() for d in of), default=0)
        groups.append(Group(held, expected, first_divergence(held)))
    notes += _notes(dumps, groups)
    notes += [f"{path.name} is left out: {why}" for path, why in reading.left_out.items()]
    return Merged(reading, tuple(groups), tuple(notes))


def _newest_run(reading: Reading) -> list[RankDump]:
    """Without dumps of ranks that another, newer process has taken the place of."""
    runs: dict[int | None, list[RankDump]] = defaultdict(list)
    for dump in reading.dumps:
        runs[dump.launcher].append(dump)
    newest_first = sorted(runs.values(), key=_when, reverse=True)
    kept: list[RankDump] = []
    for run in newest_first:
        owners = {dump.place: dump.pid for dump in kept}
        if any(owners.get(dump.place, dump.pid) != dump.pid for dump in run):
            for dump in run:
                reading.left_out[dump.path] = "of an earlier run of a server"
        else:  # ranks of another host have a launcher of their own
            kept += run
    return kept


def _when(run: Sequence[RankDump]) -> tuple[bool, float]:
    times = [dump.written.timestamp() for dump in run if dump.written is not None]
    return bool(times), max(times, default=0.0)


def _notes(dumps: Sequence[RankDump], groups: Sequence[Group]) -> list[str]:
    said = []
    versions = Counter(dump.format_version for dump in dumps)
    if len(versions) > 1:
        held = ", ".join(f"{n} of format {version}" for version, n in sorted(versions.items()))
        said.append(f"mixed format versions: {held}")
    bare = [dump for dump in dumps if not dump.launches]
    if bare:
        said.append(
            f"{len(bare)} dumps record no fingerprints (an older version, mode raise outside a "
            f"graph, or no launch yet): {', '.join(sorted({d.place.name for d in bare}))}"
        )
    torn = sum(dump.torn for dump in dumps)
    if torn:
        said.append(f"{torn} launches were being written when their rank stopped: not compared")
    times: list[datetime] = [dump.written for dump in dumps if dump.written is not None]
    if times and (apart := (max(times) - min(times)).total_seconds()) > CLOCKS_APART_S:
        said.append(f"the dumps are {apart:.0f} s apart by their clocks; ranks are set by step")
    for group in groups:
        if group.missing:
            count = f"{len(group.dumps)} of {group.expected}"
            said.append(f"{count} ranks have a dump; without: tp {_listed(group.missing)}")
        if not group.expected:
            said.append("how many TP ranks there are is not recorded")
        if not group.compared.counted_alike:
            said.append("the ranks count their checks differently: only steps that ended compare")
        if group.compared.alone:
            said.append(f"{group.compared.alone} launches are in the ring of one rank only")
    if len(groups) > 1:
        said.append(f"{len(groups)} groups (pp, dp, attn_dp) are compared each by itself")
    return said


def _diverged(group: Group) -> str:
    found = group.compared.divergence
    assert found is not None
    at = f"step {found.step}" if found.step is not None else "a step that had not ended"
    at = f"{at}{' or earlier' if found.earlier else ''}"
    launch = found.launch
    where = f"{launch.role or 'unknown'} launch over the {launch.space} pool"
    where += f", layer {launch.layer_id}" if launch.layer_id is not None else ""
    where += f", check {launch.check}" if launch.check is not None else ""
    what = (
        "the ranks launch different things"
        if found.tables == (LAUNCHES,)
        else f"{' and '.join(found.tables)} {'differ' if len(found.tables) > 1 else 'differs'}"
    )
    if found.wrong:
        how = {BY_MAJORITY: "the other ranks agree", BY_ALARM: "its own trap says so"}[found.basis]
        return f"{_ranks(found.wrong)} diverged first, at {at}: {what} ({where}); {how}"
    return (
        f"{_ranks(found.values)} differ first at {at}: {what} ({where}); which of them is wrong "
        "cannot be told from fingerprints alone, and no trap says"
    )


def _agreed(group: Group) -> str:
    compared, ranks = group.compared, len(group.dumps)
    steps = ""
    if compared.steps is not None:
        steps = f", steps {compared.steps[0]} to {compared.steps[1]}"
    return f"{ranks} ranks agree in all {compared.launches} launches that were compared{steps}"


def _dump_line(place: Place, dump: RankDump) -> str:
    step = dump.step if dump.step is not None else dump.reached
    at = f"step {step}" if step is not None else "step not recorded"
    causes = f"; {', '.join(dump.causes)}" if dump.causes else ""
    what = f"{dump.kind} {dump.alarm}".strip()
    return f"{place.name}: {what}, {at}, {len(dump.launches)} launches{causes} ({dump.path.name})"


def _group_dict(group: Group) -> dict[str, Any]:
    compared, found = group.compared, group.compared.divergence
    any_place = next(iter(group.dumps))
    return {
        **{
            name: value if value >= 0 else None
            for name, value in any_place._asdict().items()
            if name != "tp"
        },
        "ranks_expected": group.expected or None,
        "ranks_missing": group.missing,
        "launches_compared": compared.launches,
        "launches_of_one_rank": compared.alone,
        "steps_compared": list(compared.steps) if compared.steps else None,
        "diverged": None
        if found is None
        else {
            "step": found.step,
            "or_earlier": found.earlier,
            "tables": list(found.tables),
            "wrong_tp_ranks": [place.tp for place in found.wrong],
            "basis": found.basis,
            "space": found.launch.space,
            "role": found.launch.role,
            "layer_id": found.launch.layer_id,
            "check": found.launch.check,
            "fingerprints": {
                str(place.tp): list(values) for place, values in sorted(found.values.items())
            },
        },
        "dumps": [
            {
                "tp": place.tp,
                "draft": dump.draft,
                "path": str(dump.path),
                "kind": dump.kind,
                "alarm": dump.alarm,
                "headline": dump.headline,
                "step": dump.step,
                "reached": dump.reached,
                "causes": list(dump.causes),
                "launches": len(dump.launches),
                "format_version": dump.format_version,
            }
            for place, dumps in sorted(group.dumps.items())
            for dump in dumps
        ],
    }


def _ranks(places: Any) -> str:
    return (
        "ranks " + ", ".join(p.name for p in sorted(places))
        if len(places) > 1
        else next(iter(places)).name
    )


def _listed(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks))
