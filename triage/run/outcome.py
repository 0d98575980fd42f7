"""What a command left: its exit code, the dumps of the time that it ran, the cause of each.

Only files that lie in the directory now and did not when it began are its own. Read without
torch. A dump that cannot be read is listed with the reason.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triage.dump.file import read_dump
from triage.dump.store import MARKER, SUFFIX
from triage.errors import TriageError
from triage.explain import explain
from triage.files.text import printable

MAX_EXPLAINED = 8
"""Dumps that are read and explained, oldest first; the rest are counted. A store keeps 32."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """One dump: what it says was wrong, and the cause; `problem` if it cannot be read."""

    path: Path
    invariant: str = ""
    headline: str = ""
    status: str = ""
    causes: tuple[str, ...] = ()
    problem: str = ""

    def json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "invariant": self.invariant,
            "headline": self.headline,
            "status": self.status,
            "causes": list(self.causes),
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """armed: processes in which a scheduler of SGLang said that it is armed."""

    command: tuple[str, ...]
    exit_code: int
    seconds: float
    directory: Path
    mode: str
    armed: tuple[int, ...]
    dumps: tuple[Dumped, ...]
    further: int = 0

    def json(self) -> dict[str, Any]:
        return {
            "command": list(self.command),
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
            "directory": str(self.directory),
            "mode": self.mode,
            "armed": list(self.armed),
            "dumps": [each.json() for each in self.dumps],
            "further": self.further,
        }


@dataclass(slots=True)
class Observer:
    """Looks at the directory while the command runs. Never raises: it stands beside a server."""

    directory: Path
    _before: frozenset[str] = field(init=False)
    _armed_before: frozenset[str] = field(init=False)
    _armed: set[str] = field(default_factory=set, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)

    def __post_init__(self) -> None:
        names = frozenset(self._names())
        self._before = frozenset(name for name in names if name.endswith(SUFFIX))
        self._armed_before = frozenset(name for name in names if MARKER.fullmatch(name))

    def look(self) -> None:
        """`armed.PID` is there only while that process serves, so it is looked for meanwhile."""
        names = {name for name in self._names() if MARKER.fullmatch(name)}
        self._armed |= names - self._armed_before

    def outcome(self, command: Sequence[str], exit_code: int, mode: str) -> Outcome:
        names = [name for name in self._names() if name.endswith(SUFFIX)]
        new = [self.directory / name for name in names if name not in self._before]
        new.sort(key=_written)
        return Outcome(
            command=tuple(command),
            exit_code=exit_code,
            seconds=time.monotonic() - self._began,
            directory=self.directory,
            mode=mode,
            armed=tuple(sorted(int(name.rpartition(".")[2]) for name in self._armed)),
            dumps=tuple(_explained(path) for path in new[:MAX_EXPLAINED]),
            further=max(len(new) - MAX_EXPLAINED, 0),
        )

    def _names(self) -> Iterable[str]:
        try:
            return [path.name for path in self.directory.iterdir()]
        except OSError:
            return []


def _written(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name


def _explained(path: Path) -> Dumped:
    try:
        dump = read_dump(path)
        found = explain(dump)
    except TriageError as error:
        return Dumped(path, problem=str(error).splitlines()[0])
    except Exception as error:  # the command's exit code is not to be lost for it
        return Dumped(path, problem=f"triage itself failed: {type(error).__name__}")
    causes = tuple(f"{cause.key} ({cause.confidence.name.lower()})" for cause in found.named)
    return Dumped(
        path, dump.fault.invariant, dump.fault.headline().splitlines()[0], found.status, causes
    )


def text(outcome: Outcome) -> Iterator[str]:
    """What a reader is told behind the command's own output."""
    ended = f"exit code {outcome.exit_code}"
    if outcome.exit_code > 128:
        with contextlib.suppress(ValueError):  # a number that is no signal
            ended += f" ({signal.Signals(outcome.exit_code - 128).name})"
    yield f"triage run: {ended} after {outcome.seconds:.1f} s, traps in mode {outcome.mode}"
    if not outcome.dumps:
        if outcome.armed:
            served = ", ".join(map(str, outcome.armed))
            yield f"nothing was dumped; armed schedulers: {served}"
        else:
            yield (
                "nothing was dumped, and no scheduler of SGLang said that it is armed: "
                "perhaps nothing was checked; triage doctor says what binds here"
            )
        return
    count = len(outcome.dumps) + outcome.further
    yield f"{count} dump{'s' if count != 1 else ''} in {outcome.directory}"
    for dumped in outcome.dumps:
        yield f"  {printable(dumped.headline or dumped.problem)}"
        if not dumped.problem:
            yield f"    cause: {', '.join(dumped.causes) or dumped.status}"
        yield f"    dump:  {dumped.path}"
    if outcome.further:
        yield f"  and {outcome.further} more"
    yield f"next: triage explain {outcome.dumps[0].path}"
