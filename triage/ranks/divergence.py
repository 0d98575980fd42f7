"""The first launch at which the ranks of one TP group did not hold the same tables.

Launches are set beside each other by the number of their check and by step. Clocks are not
asked. Of three ranks or more the few are the wrong ones; of two, or where no side has more,
fingerprints cannot tell who is wrong, and only a rank's own alarm of that launch can.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triage.ranks.reading import TABLES, Place, RankDump, RankLaunch

LAUNCHES = "launches"
"""In the place of a table: the ranks did not launch the same thing."""

BY_MAJORITY, BY_ALARM, UNTOLD = "majority", "alarm", "cannot be told"


Key = tuple[int, int]
"""(0, number of the check), or (step, which of its launches): orders a group's launches."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where ranks first differed.

    tables: those that differ, or LAUNCHES. wrong: the ranks that left the others, empty where
    that cannot be told. basis: why these, one of BY_MAJORITY, BY_ALARM, UNTOLD. earlier: the
    ring of some rank begins here, so it may have begun before.
    """

    step: int | None
    launch: RankLaunch
    tables: tuple[str, ...]
    values: dict[Place, tuple[int | str | None, ...]]
    wrong: tuple[Place, ...]
    basis: str
    earlier: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of comparing one group. steps: first and last compared, None if not known.

    counted_alike: do the ranks number their checks alike? Then launches of a step that had not
    ended are compared too.
    """

    launches: int
    steps: tuple[int, int] | None
    counted_alike: bool
    alone: int
    divergence: Divergence | None


def first_divergence(ranks: Mapping[Place, Sequence[RankDump]]) -> Compared:
    """Compare the launches that two ranks or more have recorded. Host work, no device."""
    own = {place: _of_all(dumps) for place, dumps in ranks.items()}
    step_of = _steps_by_check(own)
    aligned: dict[Key, dict[Place, RankLaunch]] = defaultdict(dict)
    for place, launches in own.items():
        for key, launch in _keyed(launches, step_of):
            aligned[key][place] = launch
    both = sorted(key for key, held in aligned.items() if len(held) > 1)
    oldest = {place: launches[0].sequence for place, launches in own.items() if launches}
    found = None
    for key in both:
        tables = _differing(aligned[key])
        if tables:
            found = _divergence(aligned[key], tables, ranks, oldest)
            break
    steps = [step for key in both if (step := _step(aligned[key])) is not None]
    return Compared(
        len(both),
        (min(steps), max(steps)) if steps else None,
        step_of is not None,
        len(aligned) - len(both),
        found,
    )


def _step(held: Mapping[Place, RankLaunch]) -> int | None:
    return next((launch.step for launch in held.values() if launch.step is not None), None)


def _of_all(dumps: Sequence[RankDump]) -> list[RankLaunch]:
    """Each launch once, oldest first, with its step where any dump of the rank knows it."""
    found: dict[int, RankLaunch] = {}
    for dump in dumps:
        for launch in dump.launches:
            known = found.get(launch.sequence)
            if known is None or known.step is None:
                found[launch.sequence] = launch
    return [found[sequence] for sequence in sorted(found)]


def _steps_by_check(own: Mapping[Place, list[RankLaunch]]) -> dict[int, int] | None:
    """Step of each check as any rank tells it; None where two ranks tell different ones."""
    found: dict[int, int] = {}
    for launches in own.values():
        for launch in launches:
            if launch.check is None or launch.step is None:
                continue
            if found.setdefault(launch.check, launch.step) != launch.step:
                return None
    return found


def _keyed(
    launches: Sequence[RankLaunch], step_of: dict[int, int] | None
) -> list[tuple[Key, RankLaunch]]:
    numbered = [(launch.check, launch) for launch in launches if launch.check is not None]
    if step_of is not None:
        return [((0, check), launch) for check, launch in numbered]
    inside: Counter[int] = Counter()
    keyed = []
    for launch in launches:  # those of a step that had not ended stay alone
        if launch.step is not None:
            keyed.append(((launch.step, inside[launch.step]), launch))
            inside[launch.step] += 1
    return keyed


def _differing(held: Mapping[Place, RankLaunch]) -> tuple[str, ...]:
    kinds = {(launch.space, launch.role) for launch in held.values()}
    if len(kinds) > 1:
        return (LAUNCHES,)
    return tuple(
        name
        for name in TABLES
        if len({p for launch in held.values() if (p := launch.prints[name]) is not None}) > 1
    )


def _divergence(
    held: Mapping[Place, RankLaunch],
    tables: tuple[str, ...],
    ranks: Mapping[Place, Sequence[RankDump]],
    oldest: Mapping[Place, int],
) -> Divergence:
    values: dict[Place, tuple[int | str | None, ...]] = {
        place: (launch.space, launch.role)
        if tables == (LAUNCHES,)
        else tuple(launch.prints[name] for name in tables)
        for place, launch in held.items()
    }
    wrong, basis = _who(held, values, ranks)
    shown = next((held[place] for place in wrong), next(iter(held.values())))
    return Divergence(
        _step(held),
        shown,
        tables,
        values,
        wrong,
        basis,
        any(launch.sequence == oldest[place] > 0 for place, launch in held.items()),
    )


def _who(
    held: Mapping[Place, RankLaunch],
    values: Mapping[Place, tuple[object, ...]],
    ranks: Mapping[Place, Sequence[RankDump]],
) -> tuple[tuple[Place, ...], str]:
    """The ranks that left the others, and how that is known."""
    (most, count), *_ = Counter(values.values()).most_common(1)
    if len(held) > 2 and count * 2 > len(held):
        return tuple(sorted(place for place, value in values.items() if value != most)), BY_MAJORITY
    alarmed = {
        place
        for place in held
        if any(
            dump.alarm and dump.step is not None and dump.step == held[place].step
            for dump in ranks[place]
        )
    }
    if alarmed and len(alarmed) < len(held):
        return tuple(sorted(alarmed)), BY_ALARM
    return (), UNTOLD
