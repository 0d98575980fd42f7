"""A process between the lab and the server: whatever ends, nothing is left running.

Run as a script, by file name and in isolated mode, so that it costs nothing and
imports nothing of ours: `python -I supervisor.py GRACE_S COMMAND...`. It leads a
session of its own, is the reaper of every process below it (Linux: orphans become
its children, however they were started), and ends all of them

    when its standard input is closed: the lab that held the other end is gone
    on SIGTERM: the lab asks
    when the command has ended: its leftovers are not a server

with SIGTERM first and SIGKILL after GRACE_S seconds. Its exit code is the
command's, 128 + N for a signal. SIGINT is given back its default, for a server
that was started where it is ignored (a script's background job).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def descendants(root: int, session: int | None = None) -> list[int]:
    """Processes below `root`, and those of `session`, zombies left out; `root` is not one."""
    parent_of, session_of = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parent_of[int(entry.name)] = int(fields[1])
                session_of[int(entry.name)] = int(fields[3])
    found = {pid for pid, of in session_of.items() if of == session}
    below = {root}
    while below:
        below = {pid for pid, parent in parent_of.items() if parent in below} - found
        found |= below
    return sorted(found - {root})


def end(root: int, grace_s: float, session: int | None = None) -> None:
    """End everything below `root`: SIGTERM, up to `grace_s` seconds, SIGKILL."""
    deadline = time.monotonic() + grace_s
    asked: set[int] = set()
    while left := descendants(root, session):
        late = time.monotonic() > deadline
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if late:
                    os.kill(pid, signal.SIGKILL)
                elif pid not in asked:
                    os.kill(pid, signal.SIGTERM)
        asked.update(left)
        if time.monotonic() > deadline + 30:
            return  # held by the kernel (a driver call that does not return); nothing helps
        _reap()
        time.sleep(0.05)


def main(grace_s: float, command: list[str]) -> int:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", flush=True)
        return 127
    status = None
    while status is None:
        ready, _, _ = select.select([sys.stdin, woken], [], [])
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
            break
        if woken in ready and set(os.read(woken, 4096)) & {signal.SIGTERM, signal.SIGHUP}:
            break
        status = _reap().get(child.pid)
    end(os.getpid(), grace_s)
    status = status if status is not None else _reap().get(child.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


_ended: dict[int, int] = {}


def _reap() -> dict[int, int]:
    """Wait statuses of all children that have ended so far."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            _ended[pid] = status
    return _ended


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
