"""When one rank raises an alarm, the others write what they hold: there is something to compare.

The failure: one tensor-parallel rank finds its table wrong and ends; the launcher kills the
others, and with them the only tables that could say how it should have been. The rule: who
raises an alarm first asks the ranks beside it for their flight recorder, as `triage snap` does.

Only processes that left `armed.PID` in the same directory, catch the signal and have the same
parent are asked, each once in its life: who asks holds `asked.PID`, and who raises an alarm of
its own holds its own, so that eight ranks with one defect do not write 64 dumps. A rank on
another host is not reached.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from triage.dump.snap import is_armed
from triage.dump.store import MARKER, DumpStore

WAIT_S = 2.0
"""At most so long an alarm that ends the server waits for the others' dumps."""


class Peers:
    """Of one process. Host work; raises OSError."""

    def __init__(self, store: DumpStore) -> None:
        self.store = store
        self._claims: list[int] = []  # open as long as this process lives

    def ask(self) -> tuple[int, ...]:
        """Ask every sibling that nobody asked yet; their process numbers."""
        directory = self.store.open()
        self._claim(os.getpid())
        asked = []
        for name, _ in directory.files():
            if not MARKER.fullmatch(name):
                continue
            pid = int(name.partition(".")[2])
            if pid == os.getpid() or parent_of(pid) != os.getppid():
                continue
            if is_armed(pid, self.store.directory) and self._claim(pid):
                os.kill(pid, signal.SIGUSR2)
                asked.append(pid)
        return tuple(asked)

    def wait(self, asked: tuple[int, ...], timeout_s: float = WAIT_S) -> tuple[int, ...]:
        """Those of `asked` that wrote a dump, waited for until all have or the time is over."""
        until = time.monotonic() + timeout_s
        while True:
            names = [name for name, _ in self.store.open().files()]
            found = tuple(
                pid
                for pid in asked
                if any(n.startswith("snap-") and f"-{pid}-" in n for n in names)
            )
            if len(found) == len(asked) or time.monotonic() >= until:
                return found
            time.sleep(0.02)

    def _claim(self, pid: int) -> bool:
        """False where a living process asked it already."""
        try:
            self._claims.append(self.store.open().create_held(f"asked.{pid}"))
        except (FileExistsError, BlockingIOError):
            return False
        return True


def parent_of(pid: int) -> int | None:
    """The parent of a process; None where there is no such process, or no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[1])
    except (OSError, ValueError, IndexError):
        return None
