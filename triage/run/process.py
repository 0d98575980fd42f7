"""Start a command as if nobody stood before it: signals reach it, its exit code is ours.

The failures of wrappers: a server that a supervisor asks to end goes on, since the signal ended
only what stood before it; Ctrl-C arrives twice, since the terminal had sent it to both; a signal
that was ignored (`nohup`, a shell's `&`) is ignored no more. So the signals are blocked, waited
for one by one and passed on by number; those that a terminal sends to the whole foreground group
are not passed on again; and the command begins with the mask and dispositions we were given.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence

from triage.errors import LabError

PASSED_ON = frozenset(
    {
        *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
        *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
    }
)
"""SIGTSTP and SIGCONT stop and wake both of us by themselves; SIGKILL cannot be seen."""

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells say it
_LOOK_EVERY_S = 1.0


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    meanwhile: Callable[[], None] = lambda: None,
) -> int:
    """Run `command` to its end; its exit code, 128 + n if signal n ended it.

    Args:
        meanwhile: called once a second while it runs, and once behind its end.
    Raises:
        OSError: it could not be started.
        LabError: this system cannot wait for a signal by number (macOS).
    Takes the main thread, in which Python's own handlers do not run meanwhile.
    """
    if not hasattr(signal, "sigtimedwait"):
        raise LabError(
            "triage run waits for signals by number, which this system cannot: use Linux"
        )
    wanted = {*PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    try:
        # A parent that ignores SIGCHLD would have the kernel throw the exit code away.
        reaping = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            child = os.posix_spawnp(command[0], list(command), environment, setsigmask=before)
            return _wait(child, wanted, meanwhile)
        finally:
            signal.signal(signal.SIGCHLD, reaping if reaping is not None else signal.SIG_DFL)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(child: int, wanted: set[signal.Signals], meanwhile: Callable[[], None]) -> int:
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            meanwhile()
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code
        meanwhile()
        came = signal.sigtimedwait(wanted, _LOOK_EVERY_S)
        if came is None or came.si_signo == signal.SIGCHLD or _from_terminal(came, child):
            continue
        with contextlib.suppress(ProcessLookupError):  # it ended this moment
            os.kill(child, came.si_signo)


def _from_terminal(came: signal.struct_siginfo, child: int) -> bool:
    """Did the kernel send it, to our process group, and is the child in it?

    `si_code` is above 0 for what the kernel sends of its own and 0 or less for `kill`.
    """
    return came.si_code > 0 and os.getpgid(child) == os.getpgrp()
