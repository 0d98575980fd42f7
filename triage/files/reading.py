"""Reading a file that a stranger sent, or that lies where others may write.

The failures: a FIFO or a device where a dump was expected, which never ends or never
answers; a size that is believed; a log that is held three times over as text because one
character of it is an emoji; a line of megabytes under a regular expression. So a file is
opened once, without waiting, must be a regular one, has a limit that is looked at before
a byte of it is read, and text comes line by line, each line cut at a limit.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from triage.errors import DumpError, TriageError

MAX_LINE_BYTES = 16 << 10
"""Longer than any line that a tool known here writes; the rest of a longer one is skipped."""

_CHUNK = 1 << 16
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@contextmanager
def open_regular(
    path: Path, max_bytes: int, error: type[TriageError] = DumpError
) -> Iterator[BinaryIO]:
    """The regular file at `path`, open for reading bytes; links to one are followed.

    Args:
        max_bytes: a file that is larger is refused before it is read.
        error: what a refusal is raised as.
    Raises:
        error: one sentence naming `path` and what is wrong with it. Of what is raised inside
            the block, an OSError becomes one too.
    Cost: never waits for a writer, as opening a FIFO would.
    """
    if str(path) == "-":
        raise error("- is not read: name a file (standard input cannot be read twice)")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                kind = next((name for is_kind, name in _KINDS if is_kind(facts.st_mode)), "special")
                raise error(f"{path} is {kind}, not a regular file")
            if facts.st_size > max_bytes:
                raise error(f"{path} has {facts.st_size} bytes, this reader accepts {max_bytes}")
            yield file
    except IsADirectoryError as problem:
        raise error(
            f"{path} is a folder: name one of its files, or give it to `triage explain`"
        ) from problem
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror or problem}") from problem
    except ValueError as problem:  # a NUL byte in the name
        raise error(f"cannot read {str(path)!r}: {problem}") from problem


def read_regular(path: Path, max_bytes: int, error: type[TriageError] = DumpError) -> bytes:
    """The whole file; what `open_regular` refuses is refused, and a file that grows meanwhile.

    Memory: the file once.
    """
    with open_regular(path, max_bytes, error) as file:
        content = file.read(os.fstat(file.fileno()).st_size)
        if file.read(1):
            raise error(f"{path} grows while it is read; copy it first")
        return content


def read_lines(
    path: Path,
    max_bytes: int,
    error: type[TriageError] = DumpError,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[str]:
    """The lines of a text file without their ends, bytes that are no UTF-8 replaced.

    A line longer than `max_line_bytes` is cut there. Time is linear in the file, memory does
    not depend on it; a file that grows is read to the size it had when it was opened.
    """
    with open_regular(path, max_bytes, error) as file:
        left = os.fstat(file.fileno()).st_size
        line, cut = b"", False
        while left > 0 and (piece := file.readline(min(left, _CHUNK))):
            left -= len(piece)
            if not cut:
                line += piece[: max_line_bytes - len(line)]
                cut = len(line) >= max_line_bytes
            if piece.endswith(b"\n") or left <= 0:
                yield line.decode("utf-8", "replace").rstrip("\r\n")
                line, cut = b"", False
        if line:
            yield line.decode("utf-8", "replace").rstrip("\r\n")
