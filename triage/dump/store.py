"""Where dumps go: one directory, bounded, that keeps what a reader needs most.

The first dump of each signature stays, because it shows the first wrong launch; of the rest
the newest stay. The caps hold for the directory, whoever wrote into it and when: it is looked
through at every save, and only files that bear a store's name are ever removed. A failure to
write never replaces the fault: `save` returns a sentence instead of raising, and says what it
had to leave out where the disk had no room for all of it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from triage.dump import spool
from triage.dump.file import encode
from triage.dump.provenance import identity
from triage.dump.redact import redact
from triage.dump.sections import Dump
from triage.errors import DumpError, log_own_error, type_and_place
from triage.files.writing import Directory, reason

SUFFIX = ".msgpack"
MARKER = re.compile(r"armed\.\d+")
LEFTOVER = re.compile(r"(armed|asked)\.\d+")  # the latter: see `peers.py`
_NAME = re.compile(
    r"(?P<signature>.+)-\d{8}T\d{6}-r\d*-\d+-[0-9a-f]+-[0-9a-f]{8}" + re.escape(SUFFIX)
)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LEAVE_OUT: tuple[tuple[str, ...], ...] = ((), ("kv",), ("kv", "history"))
"""What goes first where there is no room for everything; the launch and its tables stay."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One dump of a store, as the directory tells it."""

    name: str
    signature: str
    written_ns: int
    size: int


@dataclass(slots=True)
class DumpStore:
    """Writes dumps to `directory`, at most `max_dumps` of them and `max_bytes` together.

    The directory is opened at the first use and held; it must belong to this user or to root,
    and nobody else may exchange files in it. A forked child opens its own. `identity`: dumps
    name host and user. `spooled`: the directory is a spool (`triage/dump/spool.py`); what was
    not sent yet counts for `max_bytes` only, and goes last. `written` and `not_written` count
    what `save` was asked for.
    """

    directory: Path
    max_dumps: int = 32
    max_bytes: int = 1 << 30
    identity: bool = False
    spooled: bool = False
    written: int = field(default=0, init=False)
    not_written: int = field(default=0, init=False)
    _opened: Directory | None = field(default=None, init=False, repr=False)
    _opened_by: int = field(default=0, init=False, repr=False)

    def open(self) -> Directory:
        """The directory, with what dead writers left removed. Raises OSError."""
        if self._opened is None or self._opened_by != os.getpid():
            self._opened = Directory.open(self.directory, private=True)
            self._opened_by = os.getpid()
            self._opened.remove_leftovers(also=LEFTOVER)
        return self._opened

    def problem(self) -> str:
        """Why nothing could be written now, in one sentence; empty if it can."""
        try:
            directory, name = self.open(), f".probe.{secrets.token_hex(8)}.partial"
            os.close(directory.create_held(name))
            directory.remove(name)
        except OSError as error:
            return f"cannot write dumps into {self.directory}: {reason(error)}"
        return ""

    def save(self, dump: Dump, signature: str) -> tuple[Path | None, str]:
        """Write it and prune: (path, "") or (path, what was left out) or (None, why not).

        Never raises but for what ends the process.
        """
        saved = self._saved(dump, signature)
        if saved[0] is None:
            self.not_written += 1
        else:
            self.written += 1
        return saved

    def _saved(self, dump: Dump, signature: str) -> tuple[Path | None, str]:
        try:
            return self._save(dump, re.sub(r"[^\w.+-]", "_", signature)[:80])
        except (DumpError, OSError) as error:
            why = str(error) if isinstance(error, DumpError) else reason(error)
            return None, f"cannot write a dump into {self.directory}: {why}"
        except Exception as error:  # evidence is second to the fault, whatever is wrong with it
            log_own_error("sglang-triage: saving failed: %s", type_and_place(error), error=error)
            return None, f"cannot write a dump: {type(error).__name__}"

    def _save(self, dump: Dump, signature: str) -> tuple[Path, str]:
        problem = ""
        if self.identity:
            dump = replace(dump, provenance={**dump.provenance, **identity()})
        dump = redact(dump, kv=True, identity=self.identity)
        for left_out in _LEAVE_OUT:
            if left_out and not any(getattr(dump, name) for name in left_out):
                continue
            encoded = _encoded(dump, left_out)
            if len(encoded) > self.max_bytes:
                problem = f"{len(encoded)} bytes are more than the cap of {self.max_bytes}"
                continue
            try:
                path = self._write(_name(signature), encoded)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                problem = reason(error)
                continue
            self._prune(path.name)
            return path, f"left out: {', '.join(left_out)} ({problem})" if problem else ""
        raise DumpError(f"{problem}; nothing was written")

    def _write(self, name: str, encoded: bytes) -> Path:
        try:
            return self.open().write(name, encoded, replace=False)
        except FileNotFoundError:  # the directory itself was removed meanwhile
            if self._opened is not None:
                self._opened.close()
            self._opened = None
            return self.open().write(name, encoded, replace=False)

    def _prune(self, newest: str) -> None:
        """Remove dumps until both caps hold: those that are not the first of their signature.

        Oldest first; where only firsts are left, the newest of them, never `newest`. What
        another process removed meanwhile is gone, which is all that was wanted.
        """
        held = self.stored()
        first: dict[str, str] = {}
        for each in held:
            first.setdefault(each.signature, each.name)
        kept = set(first.values())
        others = [each for each in held if each.name not in kept]
        firsts = [each for each in reversed(held) if each.name in kept]
        waiting = spool.unsent(self.open(), [each.name for each in held]) if self.spooled else set()
        count, size = len(held) - len(waiting), sum(each.size for each in held)
        for each in sorted((*others, *firsts), key=lambda each: each.name in waiting):
            unsent = each.name in waiting
            if (count <= self.max_dumps or unsent) and size <= self.max_bytes:
                continue
            if each.name != newest and self.open().remove(each.name):
                count, size = count - (not unsent), size - each.size
                if unsent:
                    spool.tell_lost(each.name, self.max_bytes)

    def stored(self) -> list[Stored]:
        """The dumps that stores wrote into the directory, oldest first."""
        found = [
            Stored(name, match["signature"], facts.st_mtime_ns, facts.st_size)
            for name, facts in self.open().files()
            if (match := _NAME.fullmatch(name))
        ]
        return sorted(found, key=lambda each: (each.written_ns, each.name))


def _name(signature: str) -> str:
    """One that no other process takes, on this machine or another, before a restart or after."""
    rank = re.sub(r"\D", "", os.environ.get("RANK", ""))[:6]
    stamp, tick = time.strftime("%Y%m%dT%H%M%S"), time.monotonic_ns()
    return f"{signature}-{stamp}-r{rank}-{os.getpid()}-{tick:x}-{secrets.token_hex(4)}{SUFFIX}"


def _encoded(dump: Dump, left_out: tuple[str, ...]) -> bytes:
    """Tables that contradict each other are what a form fault is about: then go without."""
    smaller = dump
    if left_out:
        provenance = {**dump.provenance, "left_out": list(left_out)}
        smaller = replace(dump, provenance=provenance)
        if "kv" in left_out:
            smaller = replace(smaller, kv=None)
        if "history" in left_out:
            smaller = replace(smaller, history=())
    try:
        return encode(smaller)
    except DumpError:
        if smaller.tables is None:
            raise
        return encode(replace(smaller, tables=None))
