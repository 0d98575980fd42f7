"""The lines of a log that some recogniser may want, out of any amount of others.

The failure: a server's log has a hundred megabytes and the fault is forty lines of it. The
rule: the text is read in chunks and searched for fixed words; only what lies around a hit is
cut into lines. Of each word the first and the last hits are kept, so neither a log that
repeats itself nor one that is nothing but hits costs memory.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from triage.errors import DumpError
from triage.files.reading import open_regular

CHUNK_BYTES = 256 << 10  # small enough to stay in a core's cache over all words
AROUND_BYTES = 4096
TRACE_BYTES = 16_384  # behind the head of a traceback: hooks make it twice as long
BEFORE_BYTES = 512
SKIP_BYTES = 1024  # hits nearer than this share what is kept
KEPT = 96  # of each word: the first and as many last
MAX_LINES = 60_000
MAX_BYTES = 4 << 30  # of text, unpacked
MAX_SHOWN = 400
PACKED_BYTES, PACKED_TIMES = 32 << 20, 128
"""What a packed log may unpack to: so much, and so many times its size."""

TRACE = b"Traceback (most"
WORDS: tuple[bytes, ...] = (
    b"=========",
    b"CUDA",
    b"GPU coredump",
    b"Faulting instruction",
    b"Xid",
    b"Cuda failure",
    b"cudaError",
    b"Triton Error",
    b"CUBLAS_STATUS",
    b"llegal ",
    b"out of memory",
    b"Assertion",
    b"eak detected",
    b"eak Detected",
    b"Mem Check",
    b"use-after-free",
    b"canary violation",
    b"TMA ",
    b"FlashInfer ",
    b"sglang-triage",
    b"Fatal Python error",
    TRACE,
    b"scheduler died",
    b"sigquit",
    b"SIGQUIT",
    b"SIGTERM received",
    b"atchdog ",
    b"remote p",
    b"ast enqueued",
    b"NCCL WARN",
    b"OutOfResources",
    b"TRTLLM-GEN",
)
"""In the order of how much they tell: where too much is kept, the last ones go."""

_SUSPICIOUS = re.compile(
    rb"[Ee]rror(?!\"?\s?[:=]\s?(?:\"\"|null|None|0\b))|ERROR|[Ee]xception|[Ff]ault|FATAL|[Ff]atal"
    rb"|[Aa]bort|[Kk]illed|panic"
)
_PAGE_SIZE = re.compile(rb"\bpage_size=(\d{1,6})\b")
_BACKEND = re.compile(rb"\b(?:decode_)?attention_backend='(\w{1,40})'")


@dataclass(slots=True)
class Scanned:
    """What was kept of a text. `lines` are (number from 1, raw text) in order."""

    source: str
    lines: list[tuple[int, str]] = field(default_factory=list)
    total_lines: int = 0
    total_bytes: int = 0
    hits: dict[str, int] = field(default_factory=dict)
    suspicious: tuple[str, ...] = ()  # lines that look like errors, the last ones
    first: tuple[str, ...] = ()  # lines that are not empty
    page_size: int | None = None
    backends: tuple[str, ...] = ()
    left_out: int = 0  # passages around hits that were not kept


@dataclass(slots=True)
class _Kept:
    first: list[tuple[int, bytes]] = field(default_factory=list)
    last: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=KEPT))
    hits: int = 0

    def add(self, number: int, text: bytes) -> None:
        self.hits += 1
        text = text.removesuffix(b"\n")
        if len(self.first) < KEPT:
            self.first.append((number, text))
        else:
            self.last.append((number, text))


def scan(stream: Readable, source: str) -> Scanned:
    """Read `stream` to its end; DumpError where it is damaged or far too long."""
    found = Scanned(source)
    kept = {word: _Kept() for word in WORDS}
    backends: dict[str, None] = {}
    tail, open_for = b"", dict[bytes, int]()
    for chunk, base, lines in _chunks(stream, source):
        found.total_bytes += len(chunk)
        if found.total_bytes > MAX_BYTES:
            raise DumpError(f"{source} has more than {MAX_BYTES} bytes of text")
        open_for = _look(chunk, base, kept, open_for)
        if found.page_size is None and b"page_size=" in chunk:
            size = _PAGE_SIZE.search(chunk)
            found.page_size = int(size[1]) if size else None
        if len(backends) < 4 and b"attention_backend=" in chunk:
            backends.update(dict.fromkeys(name.decode() for name in _BACKEND.findall(chunk)))
        if not found.first:
            found.first = _first(chunk)
        tail = chunk if len(chunk) >= AROUND_BYTES else tail[-AROUND_BYTES:] + chunk
        found.total_lines = base + lines
    if tail and not tail.endswith(b"\n"):
        found.total_lines += 1
    found.backends = tuple(backends)
    found.suspicious = _suspicious(tail)
    found.hits = {word.decode(): each.hits for word, each in kept.items() if each.hits}
    found.left_out = sum(
        max(each.hits - len(each.first) - len(each.last), 0) for each in kept.values()
    )
    found.lines = _lines(kept)
    return found


def _chunks(stream: Readable, source: str) -> Iterator[tuple[bytes, int, int]]:
    """Whole lines, about CHUNK_BYTES at a time; how many lines lie before, and in them."""
    rest, before = b"", 0
    while True:
        try:
            read = stream.read(CHUNK_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise DumpError(f"cannot read {source}: {error}") from error
        if not read:
            break
        data = rest + read
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) < 16 * CHUNK_BYTES:
            rest = data
            continue
        cut = cut or len(data)
        chunk = data[:cut]
        lines = chunk.count(b"\n")
        yield chunk, before, lines
        before += lines
        rest = data[cut:]
    if rest:
        yield rest, before, rest.count(b"\n")


def _look(
    chunk: bytes, base: int, kept: dict[bytes, _Kept], open_for: dict[bytes, int]
) -> dict[bytes, int]:
    """Keep what lies around each hit; returns the words whose last passage goes on behind.

    open_for: bytes of this chunk that still belong to a passage of the one before.
    """
    goes_on: dict[bytes, int] = {}
    for word, place in kept.items():
        if open_for.get(word):
            end = chunk.find(b"\n", open_for[word])
            place.add(base + 1, chunk[: len(chunk) if end < 0 else end])
        around = TRACE_BYTES if word == TRACE else AROUND_BYTES
        at = chunk.find(word)
        counted, number = 0, base + 1
        while at >= 0:
            start = max(chunk.rfind(b"\n", 0, max(at - BEFORE_BYTES, 0)) + 1, counted)
            end = chunk.find(b"\n", min(at + around, len(chunk)))
            number += chunk.count(b"\n", counted, start)
            counted = start
            place.add(number, chunk[start : len(chunk) if end < 0 else end])
            if end < 0:
                goes_on[word] = at + around - len(chunk)
            at = chunk.find(word, at + SKIP_BYTES)
    return goes_on


def _lines(kept: dict[bytes, _Kept]) -> list[tuple[int, str]]:
    found: dict[int, bytes] = {}
    for place in kept.values():
        for number, text in (*place.first, *place.last):
            for offset, line in enumerate(text.split(b"\n")):
                found.setdefault(number + offset, line)
        if len(found) > MAX_LINES:
            break
    return [
        (number, found[number][: 2 * AROUND_BYTES].decode("utf-8", "replace"))
        for number in sorted(found)
    ]


def _suspicious(tail: bytes) -> tuple[str, ...]:
    lines = [line[:MAX_SHOWN] for line in tail[-(256 << 10) :].split(b"\n")]
    found = [line for line in lines if _SUSPICIOUS.search(line)]
    return tuple(line.decode("utf-8", "replace") for line in found[-5:])


def _first(chunk: bytes) -> tuple[str, ...]:
    lines = [line[:MAX_SHOWN] for line in chunk[:AROUND_BYTES].split(b"\n") if line.strip()]
    return tuple(line.decode("utf-8", "replace") for line in lines[:3])


@contextmanager
def open_text(path: Path) -> Iterator[Readable]:
    """The bytes of a log as UTF-8, unpacked where it is a gzip file. DumpError for no file."""
    with open_regular(path, MAX_BYTES) as file:
        head = file.read(2)
        file.seek(0)
        if head == b"\x1f\x8b":
            most = PACKED_BYTES + PACKED_TIMES * os.fstat(file.fileno()).st_size
            yield _Unpacked(gzip.GzipFile(fileobj=file), most)
        elif head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            yield _Utf16(io.TextIOWrapper(file, "utf-16", "replace", newline=""))
        else:
            yield file


class Readable(Protocol):
    """What `scan` asks of a stream."""

    def read(self, size: int, /) -> bytes: ...


class _Unpacked:
    """A packed text, as long as it is one: a few kilobytes may claim to be gigabytes."""

    def __init__(self, file: Readable, most: int) -> None:
        self._file, self._left = file, most

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise DumpError(f"it unpacks to more than {PACKED_TIMES} times its size: unpack it")
        return data


class _Utf16:
    """Its text as UTF-8, a piece at a time: a log's length decides nothing of the memory."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text

    def read(self, size: int, /) -> bytes:
        return self._text.read(size).encode("utf-8", "replace")
