"""Ask a running server for its flight recorder: SIGUSR2, then wait for the file.

SIGUSR2 ends a process that does not catch it. So it is sent only where traps are
armed: the process left `armed.PID` beside its dumps and the kernel says that it
catches the signal. A launcher's PID stands for the schedulers below it.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

from triage.config import DIRECTORY, SPOOL, local_directory
from triage.errors import TriageError


class SnapError(TriageError):
    """No snapshot could be had of that process; says why."""


def snap(pid: int, directory: Path, timeout_s: float) -> tuple[Path, ...]:
    """Paths of the dumps that the armed processes at or below `pid` wrote.

    Raises:
        SnapError: none is armed, it may not be signalled, or none answered in time.
    """
    armed = [each for each in (pid, *_descendants(pid)) if is_armed(each, directory)]
    if not armed:
        raise SnapError(
            f"neither process {pid} nor one below it listens: no traps are armed there, or its "
            f"dumps do not go to {directory} ({DIRECTORY})"
        )
    before = set(directory.glob("snap-*"))
    for each in armed:
        try:
            os.kill(each, signal.SIGUSR2)
        except ProcessLookupError as error:
            raise SnapError(
                f"process {each} ended before it could be asked; what it wrote is in {directory}"
            ) from error
        except PermissionError as error:
            raise SnapError(
                f"process {each} may not be signalled by user {os.getuid()}; "
                "ask as the user who started the server, or as root"
            ) from error
    found: set[Path] = set()
    until = time.monotonic() + timeout_s
    while len(found) < len(armed) and time.monotonic() < until:
        time.sleep(0.05)
        written = set(directory.glob("snap-*.msgpack")) - before
        found = {path for path in written if any(f"-{each}-" in path.name for each in armed)}
    if not found:
        raise SnapError(f"no dump appeared in {directory} within {timeout_s:g} s")
    return tuple(sorted(found))


def directory_of(pid: int) -> Path | None:
    """Where the process at `pid` puts its dumps, if it was started with a directory set."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    pairs = (os.fsdecode(line).partition("=") for line in environment)
    known = {name: value for name, _, value in pairs if name in (DIRECTORY, SPOOL)}
    return local_directory(known) if known.get(DIRECTORY) else None


def is_armed(pid: int, directory: Path) -> bool:
    """Did the process mark itself in `directory`, and does it catch the signal?"""
    process = Path(f"/proc/{pid}")
    try:
        marker = os.lstat(directory / f"armed.{pid}")
        if not stat.S_ISREG(marker.st_mode) or marker.st_uid not in (0, process.stat().st_uid):
            return False
        status = (process / "status").read_text()
    except OSError:
        return False
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (signal.SIGUSR2 - 1) & 1)


def _descendants(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                children = [int(child) for child in task.read_text().split()]
            except OSError:
                continue
            found += children
            waiting += children
    return found
