"""One run of a driver, and the line that three of them make.

Planted with the traps on; the same without the defect, in which nothing may be said; and
planted without the traps, which shows that there is a defect at all. Each with fresh objects
and the same seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import Any
from unittest import mock

from triage.dump.file import read_dump
from triage.dump.sections import Dump
from triage.dump.store import DumpStore
from triage.errors import InstallError, LabError, TrapError
from triage.explain import explain
from triage.lab.blind.driver import Driver, Expected
from triage.lab.blind.stage import Stage
from triage.lab.flashinfer_stub import EmulatedFault
from triage.lab.process import LabProcess

FIRST, LATER, MISSED, BROKEN, LEFT_OUT = (
    "first wrong event",
    "later",
    "missed",
    "driver broken",
    "not applicable",
)


@dataclass(slots=True)
class Alarm:
    """The first thing that was said: at which moment, in which words, stored where."""

    moment: int
    invariant: str
    summary: str
    dump: str = ""
    logged: bool = False  # and the run went on


@dataclass(slots=True)
class Run:
    """One run. `ended`: clean, trapped, fault, refused, or the name of what was raised.

    harmed: (moment, words) of the driver's first wrong event. own_errors: of the toolkit.
    """

    ended: str = "clean"
    text: str = ""
    alarm: Alarm | None = None
    harmed: tuple[int, str] | None = None
    own_errors: int = 0

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Line:
    """What became of one driver under one set of checks.

    delay: events from the first wrong one to the alarm; less than 0 where it came before.
    named: keys of the causes that are named, `confidence` theirs; `answer` all their words.
    keyword: does a keyword of the driver's author stand in the answer? None without one.
    false_alarm: what was said of the same run without the defect.
    """

    driver: str
    what: str = ""
    reference: str = ""
    subsystem: str = ""
    expected: str = ""
    sglang: str = ""
    checks: str = ""
    result: str = BROKEN
    why: str = ""
    delay: int | None = None
    alarm: str = ""
    summary: str = ""
    logged: bool = False
    named: list[str] = field(default_factory=list)
    confidence: str = ""
    answer: str = ""
    keyword: bool | None = None
    false_alarm: str = ""
    untrapped: str = ""
    own_errors: int = 0
    dump: str = ""

    def json(self) -> dict[str, Any]:
        return asdict(self)


def described(driver: Driver, version: str) -> Line:
    return Line(
        driver=driver.name,
        what=driver.what,
        reference=driver.reference,
        subsystem=driver.subsystem,
        expected=driver.expected.sentence,
        sglang=version,
    )


def played(
    process: LabProcess, driver: Driver, directory: Path, *, traps: bool, planted: bool
) -> Run:
    """One run of `driver`, traps as `process` was started with them. Raises nothing."""
    process.arm(traps=traps, fixes=(), directory=directory)
    stage, run = Stage(process, driver), Run()
    around = driver.plant(stage.harmed) if planted else _without(driver)
    with _alarms_noted(run, stage):
        try:
            with around:
                stage.run()
        except TrapError as error:
            run.ended, run.text = "trapped", error.evidence.headline()
            if run.alarm is None:  # no dump could be stored
                run.alarm = Alarm(stage.moment, error.evidence.invariant, run.text)
            run.alarm.logged = False
        except EmulatedFault as error:
            run.ended, run.text = "fault", str(error)
        except (InstallError, SystemExit) as error:  # how a start that cannot be checked ends
            run.ended, run.text = "refused", str(error.__cause__ or error)
        except Exception as error:  # somebody else's script over SGLang in a wrong state
            run.ended, run.text = type(error).__name__, f"{error} ({_place(error)})".lstrip()
    run.harmed = stage.first
    if traps:
        run.own_errors = process.traps.reporter.shells.internal_errors
    try:
        process.arm(traps=False, fixes=(), directory=directory)
    finally:
        stage.close()
    return run


def _place(error: BaseException) -> str:
    """Where it was raised: the innermost frame, and the driver's own above it."""
    frames = [
        f"{Path(each.filename).name}:{each.lineno}" for each in extract_tb(error.__traceback__)
    ]
    return " > ".join(frames[-3:])


def _without(driver: Driver) -> Any:
    return nullcontext() if driver.corrected is None else driver.corrected()


@contextmanager
def _alarms_noted(run: Run, stage: Stage) -> Iterator[None]:
    """Note the first dump, whether its error is raised or logged, when it is stored."""
    save = DumpStore.save

    def noted(store: DumpStore, dump: Dump, signature: str) -> tuple[Path | None, str]:
        path, problem = save(store, dump, signature)
        if run.alarm is None and dump.fault.invariant:
            text = dump.fault.headline()
            run.alarm = Alarm(
                stage.moment, dump.fault.invariant, text, str(path or ""), logged=True
            )
        return path, problem

    with mock.patch.object(DumpStore, "save", noted):
        yield


def judged(line: Line, expected: Expected, trapped: Run, clean: Run, truth: Run) -> Line:
    """`line` with what the three runs say."""
    line.untrapped = _told(truth)
    line.own_errors = trapped.own_errors + clean.own_errors
    line.false_alarm = f"{clean.alarm.invariant}: {clean.alarm.summary}" if clean.alarm else ""
    if not clean.alarm and clean.ended != "clean":
        line.why = f"without the defect: {clean.ended}: {clean.text}"
        return line
    if truth.harmed is None:
        line.why = f"nothing was harmed without the traps; ended {truth.ended}: {truth.text}"
        return line
    alarm = trapped.alarm
    if alarm is None:
        line.result = MISSED
        line.why = f"ended {trapped.ended}" + (f": {trapped.text}" if trapped.text else "")
        return line
    first = truth.harmed if trapped.harmed is None else trapped.harmed
    line.delay = alarm.moment - first[0]
    line.result = LATER if line.delay > 0 else FIRST
    line.alarm, line.summary, line.logged = alarm.invariant, alarm.summary, alarm.logged
    line.dump = alarm.dump
    if alarm.dump:
        _name(line, expected, read_dump(Path(alarm.dump)))
    return line


def unstopped(line: Line, ended: str, clean: Run, truth: Run) -> Line:
    """`line` where the process ended with the defect and the traps: a miss of a sound driver."""
    judged(line, Expected(line.expected), Run(), clean, truth)
    line.why = line.why if line.result == BROKEN else ended
    return line


def _name(line: Line, expected: Expected, dump: Dump) -> None:
    found = explain(dump)
    line.named = [cause.key for cause in found.named]
    line.confidence = found.named[0].confidence.name.lower() if found.named else ""
    words = [line.summary, *found.observed]
    for cause in found.named:
        words += [cause.key, cause.name, *map(str, cause.evidence)]
    line.answer = " | ".join(words)
    if expected.keywords:
        line.keyword = expected.meets(line.answer)


def _told(run: Run) -> str:
    harm = "nothing harmed" if run.harmed is None else f"harmed at {run.harmed[0]}: {run.harmed[1]}"
    return f"{harm}; ended {run.ended}" + (f": {run.text}" if run.text else "")


def broken(line: Line, error: BaseException) -> Line:
    line.why = str(error) if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
    return line
