"""Results as JSON lines: a header, then one line per answer, each on disk once it is there.

A run that is interrupted keeps what it has; started again with the same file it asks only
for what is missing. A last line that was cut off is dropped. A file of another run, be it of
another model, server or set of requests, is refused and never overwritten; every line is held
against the header, and while one process writes a file no other does.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import stat
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from triage.files.reading import read_regular
from triage.fleet.client import MAX_TOKENS, Answer
from triage.fleet.workloads import FleetError

MAX_BYTES = 256 << 20
MAX_REQUESTS = 1 << 20
TOTALS = ("prompts", "count")
"""Where a header says how many requests there are."""

_NUMBERS = ("started_s", "duration_s")
_COUNTS = ("prompt_tokens", "completion_tokens")


@dataclass(slots=True)
class Journal:
    """header: what was asked of whom. answers: by index, the failed ones included until
    they are asked again. segments: one per start, seconds each ran and what it noted.
    whole_bytes: how much of the file on disk is whole lines.
    """

    path: Path
    header: dict[str, Any]
    answers: dict[int, Answer] = field(default_factory=dict)
    segments: list[dict[str, Any]] = field(default_factory=list)
    whole_bytes: int = 0
    _handle: int = -1

    def open(self) -> Journal:
        """Start the file, or go on with it.

        Raises FleetError where it is another run's, is being written, or is no plain file.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, flags | os.O_NONBLOCK, 0o600)
            facts = os.fstat(self._handle)
            if not stat.S_ISREG(facts.st_mode):
                raise FleetError(f"{self.path} is not a regular file")
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not facts.st_size:
                self._line({"kind": "run", **self.header})
                return self
            self._go_on()
        except BlockingIOError as error:
            self.close()
            raise FleetError(f"{self.path} is being written by another process") from error
        except OSError as error:
            self.close()
            raise FleetError(f"{self.path} cannot be written: {error.strerror}") from error
        except FleetError:
            self.close()
            raise
        return self

    def _go_on(self) -> None:
        before = read(self.path)
        for name in sorted({*before.header, *self.header}):
            if before.header.get(name) != self.header.get(name):
                raise FleetError(
                    f"{self.path} holds another run ({name} {before.header.get(name)!r}, not "
                    f"{self.header.get(name)!r}); name another file with --out"
                )
        self.answers, self.segments = before.answers, before.segments
        os.ftruncate(self._handle, before.whole_bytes)

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
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _line(self, plain: dict[str, Any]) -> None:
        try:
            left = memoryview((json.dumps(plain, allow_nan=False) + "\n").encode())
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError as error:
            raise FleetError(f"{self.path} cannot be written: {error.strerror}") from error


def read(path: Path) -> Journal:
    """The journal in `path`. Raises FleetError where it is none; a torn last line is dropped."""
    content = read_regular(path, MAX_BYTES, FleetError)
    lines = content.splitlines(keepends=True)
    journal: Journal | None = None
    whole = 0
    for number, line in enumerate(lines, start=1):
        try:
            plain = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines) and journal is not None and not line.endswith(b"\n"):
                break
            raise FleetError(f"{path} is no result file: line {number} is no JSON") from error
        try:
            journal = _add(journal, path, plain)
        except ValueError as error:
            raise FleetError(f"{path} is no result file: line {number}: {error}") from error
        if not line.endswith(b"\n"):
            break  # whole by chance; asked for again
        whole += len(line)
    if journal is None:
        raise FleetError(f"{path} is no result file: it is empty")
    journal.whole_bytes = whole
    return journal


def _add(journal: Journal | None, path: Path, plain: Any) -> Journal:
    """Take in one line; ValueError says what is wrong with it."""
    if not isinstance(plain, dict):
        raise ValueError("it is no object")
    kind = plain.pop("kind", None)
    if journal is None:
        if kind != "run":
            raise ValueError("its first line is no header")
        total(plain)
        return Journal(path, plain)
    if kind == "answer":
        answer = _answer(plain, total(journal.header))
        before = journal.answers.get(answer.index)
        if before is not None and not before.error:
            raise ValueError(f"request {answer.index} is answered twice")
        journal.answers[answer.index] = answer
    elif kind == "segment":
        seconds, accepted = plain.get("seconds"), plain.get("accept_length")
        if not _is_time(seconds) or not (accepted is None or _is_time(accepted)):
            raise ValueError("a segment's seconds or accept_length is no number of at least 0")
        journal.segments.append(plain)
    else:
        raise ValueError(f"its kind is {str(kind)[:40]!r}; known: run, answer, segment")
    return journal


def total(header: dict[str, Any]) -> int:
    """How many requests a run with that header has; ValueError where it does not say."""
    value = next((header[name] for name in TOTALS if name in header), None)
    if type(value) is not int or not 0 < value <= MAX_REQUESTS:
        raise ValueError(f"its header does not say how many requests there are ({value!r:.40})")
    return value


def _answer(plain: dict[str, Any], requests: int) -> Answer:
    known = {each.name for each in fields(Answer)}
    if set(plain) - known or known - set(plain) - {"error"}:
        raise ValueError("an answer has other fields than one that was written here")
    index = plain["index"]
    if type(index) is not int or not 0 <= index < requests:
        raise ValueError(f"index {index!r:.40} is none of [0, {requests})")
    for name in _NUMBERS:
        if not _is_time(plain[name]):
            raise ValueError(f"{name} = {plain[name]!r:.40} is no number of at least 0")
    if plain["ttft_s"] is not None and not _is_time(plain["ttft_s"]):
        raise ValueError(f"ttft_s = {plain['ttft_s']!r:.40} is no number of at least 0")
    for name in _COUNTS:
        if type(plain[name]) is not int or not 0 <= plain[name] < MAX_TOKENS:
            raise ValueError(f"{name} = {plain[name]!r:.40} is no number of tokens")
    if not all(isinstance(plain.get(name, ""), str) for name in ("text", "error")):
        raise ValueError("text and error are not both text")
    return Answer(**plain)


def _is_time(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )
