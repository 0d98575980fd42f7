"""Results as JSON lines: a header, then one line per answer, each on disk once it is there.

A run that is interrupted keeps what it has; started again with the same file it asks only
for what is missing. A last line that was cut off is dropped. A file of another run is
refused, never overwritten.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from triage.fleet.client import Answer
from triage.fleet.workloads import FleetError

MAX_BYTES = 1 << 30


@dataclass(slots=True)
class Journal:
    """header: what was asked of whom. answers: by index, the failed ones included until
    they are asked again. segments: one per start, seconds each ran and what it noted.
    """

    path: Path
    header: dict[str, Any]
    answers: dict[int, Answer] = field(default_factory=dict)
    segments: list[dict[str, Any]] = field(default_factory=list)
    _file: IO[str] | None = None

    def open(self) -> Journal:
        """Start the file, or go on with it. Raises FleetError where it is another run's."""
        if self.path.exists() and self.path.stat().st_size:
            before = read(self.path)
            differing = [
                name
                for name in sorted({*before.header, *self.header} - {"model"})
                if before.header.get(name) != self.header.get(name)
            ]
            if differing:
                name = differing[0]
                raise FleetError(
                    f"{self.path} holds another run ({name} {before.header.get(name)!r}, not "
                    f"{self.header.get(name)!r}); name another file with --out"
                )
            self.answers, self.segments = before.answers, before.segments
            self._rewrite()
        else:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("w")
            except OSError as error:
                raise FleetError(f"{self.path} cannot be written: {error.strerror}") from error
            self._line({"kind": "run", **self.header})
        return self

    def _rewrite(self) -> None:
        """Bring the file to whole lines, through a temporary one."""
        scratch = self.path.with_suffix(self.path.suffix + ".new")
        with scratch.open("w") as self._file:
            self._line({"kind": "run", **self.header})
            for answer in self.answers.values():
                self.add(answer)
            for segment in self.segments:
                self._line({"kind": "segment", **segment})
        scratch.replace(self.path)
        self._file = self.path.open("a")

    def missing(self, total: int) -> list[int]:
        """Requests that have no good answer yet."""
        return [i for i in range(total) if i not in self.answers or self.answers[i].error]

    def add(self, answer: Answer) -> None:
        self.answers[answer.index] = answer
        self._line({"kind": "answer", **answer.as_dict()})

    def end_segment(self, seconds: float, **noted: Any) -> None:
        self.segments.append({"seconds": seconds, **noted})
        self._line({"kind": "segment", **self.segments[-1]})

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _line(self, plain: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(plain) + "\n")
        self._file.flush()


def read(path: Path) -> Journal:
    """The journal in `path`. Raises FleetError where it is none; a torn last line is dropped."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FleetError(f"{path} is larger than {MAX_BYTES >> 30} GiB")
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"{path} cannot be read: {error}") from error
    journal: Journal | None = None
    for number, line in enumerate(lines, start=1):
        try:
            plain = json.loads(line)
            kind = plain.pop("kind")
            if journal is None:
                if kind != "run":
                    raise ValueError("its first line is no header")
                journal = Journal(path, plain)
            elif kind == "answer":
                journal.answers[plain["index"]] = Answer(**plain)
            elif kind == "segment":
                journal.segments.append(plain)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if number == len(lines) and journal is not None:
                break
            raise FleetError(f"{path} is no result file: line {number}: {error}") from error
    if journal is None:
        raise FleetError(f"{path} is no result file: it is empty")
    return journal
