"""Catalogue x configuration on the SGLang at hand: who notices which defect, and how soon.

Four runs of every bug, each with fresh pools and the same seed: traps off with
the lab's oracles, which says when the state was first wrong; all families on;
only the two range checks, of page ids and of allocated slots, that an earlier trap
of this kind had (a patch of SGLang, see `importers/trap_file.py`); the fix that
removes it, with the traps on. Beside them, for a defect that is re-injected, the same
workload without it, in which nothing may fire.

A moment is one launch or one call of the allocator; a delay of 0 means that the
alarm came at the very launch or call that was first wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from triage.dump.file import read_dump
from triage.errors import InstallError, TrapError
from triage.explain import explain
from triage.invariants.catalogue import FAMILIES
from triage.lab.bugs.bug import Bug, untouched
from triage.lab.flashinfer_stub import EmulatedFault
from triage.lab.process import LabProcess, start
from triage.lab.reinject import stale_swa_state
from triage.lab.rig import Bench

Progress = Callable[[int, int], None]

EVERYTHING = ",".join(FAMILIES)
BOUNDS = ("I1", "I20")
"""The checks of the earlier trap: page ids and allocated slots within their ranges."""


_BROKEN = (AssertionError, MemoryError, RuntimeError, IndexError, ValueError)
"""What SGLang itself, or torch under it, raises once its state is wrong enough."""


@dataclass(frozen=True, slots=True)
class Played:
    """One run: the alarm, or "" and what happened instead."""

    alarm: str = ""  # invariant
    moment: int = 0  # of the alarm, else of the end
    summary: str = ""
    dump: str = ""
    first_wrong: int | None = None
    wrong: str = ""
    ended: str = "clean"  # clean, trapped, fault, refused, assertion


@dataclass(slots=True)
class Line:
    """The matrix line of one bug on one SGLang."""

    bug: str
    what: str
    reference: str
    released: bool
    expected: tuple[str, ...]
    sglang: str
    not_applicable: str = ""
    caught_by: str = ""
    delay: int | None = None
    bounds: str = ""
    untrapped: str = ""
    explained: str = ""  # right, unknown, wrong, no rule
    named: str = ""
    fixed: str = ""  # clean, still <invariant>, no fix, fix not bound
    false_alarm: str = ""
    summary: str = ""

    @property
    def caught(self) -> bool:
        return self.caught_by in self.expected

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "caught": self.caught}


@dataclass(slots=True)
class Matrix:
    sglang: str
    lines: list[Line] = field(default_factory=list)

    @property
    def played(self) -> list[Line]:
        return [line for line in self.lines if not line.not_applicable]

    def json(self) -> dict[str, Any]:
        return {"sglang": self.sglang, "lines": [line.json() for line in self.lines]}


def run(
    bugs: Iterable[Bug], directory: Path, progress: Progress = lambda done, total: None
) -> Matrix:
    """Play every bug that applies to the SGLang of this process."""
    bugs = list(bugs)
    # A fix binds only where it is needed: let the probes see the defect that one is for.
    with stale_swa_state():
        process = start(traps=True, fixes=("auto",), directory=directory, checks=EVERYTHING)
    matrix = Matrix(process.version)
    for number, bug in enumerate(bugs):
        matrix.lines.append(_line(process, bug, directory))
        progress(number + 1, len(bugs))
    return matrix


def _line(process: LabProcess, bug: Bug, directory: Path) -> Line:
    line = Line(
        bug=bug.name,
        what=bug.what,
        reference=bug.reference,
        released=bug.released,
        expected=bug.invariants,
        sglang=process.version,
        not_applicable=bug.applies(),
    )
    if line.not_applicable:
        return line
    truth = play(process, bug, directory, traps=False)
    line.untrapped = truth.ended + (f": {truth.wrong}" if truth.wrong else "")
    seen = play(process, bug, directory, checks=(EVERYTHING,))
    line.caught_by, line.summary = seen.alarm, seen.summary
    if seen.alarm and truth.first_wrong is not None:
        # A launch that a trap prevents is not counted, the one that was wrong is.
        line.delay = max(seen.moment - truth.first_wrong, 0)
    line.explained, line.named = _explained(bug, seen)
    line.bounds = play(process, bug, directory, checks=BOUNDS).alarm
    line.fixed = "fix not bound" if bug.fix else "no fix"
    if bug.fix in process.fixes:
        fixed = play(process, bug, directory, checks=(EVERYTHING,), fixes=(bug.fix,))
        line.fixed = f"still {fixed.alarm}" if fixed.alarm else fixed.ended
    if not bug.released:
        line.false_alarm = play(process, bug, directory, checks=(EVERYTHING,), inject=False).alarm
    return line


def play(
    process: LabProcess,
    bug: Bug,
    directory: Path,
    *,
    traps: bool = True,
    checks: tuple[str, ...] = (),
    fixes: tuple[str, ...] = (),
    inject: bool = True,
) -> Played:
    """One run of `bug` from fresh pools; what stopped it, and when it was first wrong."""
    names = tuple(name for check in checks for name in check.split(","))
    process.arm(traps=traps, fixes=fixes, directory=directory, checks=names)
    bench: Bench | None = None
    moments: list[int] = []

    def harmed() -> None:
        moments.append(bench.moment if bench is not None else 0)

    ended, alarm, text, dump = "clean", "", "", ""
    context = bug.inject(harmed) if inject else untouched(harmed)
    try:
        with context, _as_the_earlier_trap(process) if checks == BOUNDS else nullcontext():
            bench = Bench(process, bug.scenario, overlap=bug.overlap, audit=True)
            bug.play(bench)
    except TrapError as error:
        ended, alarm = "trapped", error.evidence.invariant
        text, dump = error.evidence.headline(), error.dump
    except EmulatedFault as error:
        ended, text = "fault", str(error)
    except InstallError as error:
        ended, text = "refused", str(error)
    except SystemExit as error:  # how STRICT ends a start where launches cannot be checked
        if not isinstance(error.__cause__, InstallError):
            raise
        ended, text = "refused", str(error.__cause__)
    except _BROKEN as error:
        ended, text = type(error).__name__, str(error)
    finally:
        process.arm(traps=False, fixes=(), directory=directory)
        if bench is not None:
            bench.close()
    first = [moment for moment in moments[:1]]
    wrong = ""
    if bench is not None and bench.wrong is not None:
        first.append(bench.wrong[0])
        wrong = bench.wrong[1]
    return Played(
        alarm=alarm,
        moment=0 if bench is None else bench.moment,
        summary=text,
        dump=dump,
        first_wrong=min(first, default=None),
        wrong=wrong or ("harmed" if moments else ""),
        ended=ended,
    )


@contextmanager
def _as_the_earlier_trap(process: LabProcess) -> Iterator[None]:
    """I20 judges ranges alone: not what a request goes on behind, nor what its row says."""
    slots, rows = process.traps.slots, process.installed.state_hooks.rows_written
    with (
        mock.patch.object(slots, "before_alloc", lambda *_: ()),
        mock.patch.object(rows, "judge", lambda *_: None),
    ):
        yield


def _explained(bug: Bug, seen: Played) -> tuple[str, str]:
    if not seen.dump:
        return "", ""
    found = explain(read_dump(Path(seen.dump)))
    named = ", ".join(cause.key for cause in found.named)
    if found.status == "unknown" or not named:
        return "unknown", ""
    if {bug.cause, *bug.also} & {cause.key for cause in found.named}:
        return "right", named
    return "wrong", named
