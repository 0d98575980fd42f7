"""Where dumps go: one directory, bounded, that keeps what a reader needs most.

The first dump of each signature stays, because it shows the first wrong
launch; of the rest the newest stay. A failure to write never replaces the
fault: `save` returns a sentence instead of raising.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from triage.dump.file import write_dump
from triage.dump.sections import Dump
from triage.errors import DumpError

SUFFIX = ".msgpack"


@dataclass(slots=True)
class DumpStore:
    """Writes dumps to `directory`, at most `max_dumps` of them and `max_bytes` together."""

    directory: Path
    max_dumps: int = 32
    max_bytes: int = 1 << 30
    _first: dict[str, Path] = field(default_factory=dict, init=False)
    _written: list[Path] = field(default_factory=list, init=False)

    def save(self, dump: Dump, signature: str) -> tuple[Path | None, str]:
        """Write it and prune. Returns (path, "") or (None, why it could not be written)."""
        stamp = time.strftime("%Y%m%dT%H%M%S")
        name = f"{signature}-{stamp}-{dump.provenance.get('pid', 0)}-{len(self._written)}{SUFFIX}"
        try:
            path = self._write(dump, name)
        except DumpError as error:
            return None, str(error)
        self._first.setdefault(signature, path)
        self._written.append(path)
        self._prune()
        return path, ""

    def _write(self, dump: Dump, name: str) -> Path:
        """Tables that contradict each other are what a form fault is about: then go without."""
        try:
            return write_dump(dump, self.directory, name=name)
        except DumpError:
            if dump.tables is None:
                raise
            return write_dump(replace(dump, tables=None), self.directory, name=name)

    def _prune(self) -> None:
        """Remove the oldest that is not the first of its signature, until both caps hold."""
        keep = set(self._first.values()) | {self._written[-1]}
        held = [path for path in self._written if path.exists()]
        for path in [path for path in held if path not in keep]:
            total = sum(other.stat().st_size for other in held)
            if len(held) <= self.max_dumps and total <= self.max_bytes:
                return
            path.unlink()
            held.remove(path)
