"""One server of the installed SGLang: started, awaited, watched, stopped with all it started.

It runs below a supervisor (`supervisor.py`) in a session of its own, so a Ctrl-C
in the terminal reaches the lab alone, and stopping reaches every process the server
started, however it did, and no other. Why it ended is taken from its own log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import triage
from triage.errors import LabError
from triage.lab.server import ports, server_log, supervisor

NEVER_INHERITED = ("TRITON_INTERPRET",)
"""Set by the CPU lab; a server with a GPU compiles its kernels."""

_OURS = {"HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}


class PortInUse(LabError):
    """Somebody listens on the port already; nothing was started."""


class ServerDied(LabError):
    """The server ended before it was healthy; carries the reason from its own log."""


class ServerNotHealthy(LabError):
    """The server was not healthy in time; it has been stopped."""


class Server:
    """One server. A context manager: leaving it stops the server.

    env: variables added to this process's environment; None removes one.
    flags: arguments of `sglang.launch_server` beside --model-path and --port.
    plugin_paths: folders put first on the server's PYTHONPATH, the first one first.
    grace_s: what is asked to end has this long to do so.
    """

    def __init__(
        self,
        model_path: Path,
        port: int,
        log_path: Path,
        env: Mapping[str, str | None] | None = None,
        flags: Sequence[str] = (),
        plugin_paths: Sequence[Path] = (),
        *,
        python: str = sys.executable,
        grace_s: float = 5.0,
    ) -> None:
        self.model_path, self.port, self.log_path = model_path, port, log_path
        self.command = [
            *(python, "-m", "sglang.launch_server", "--model-path", str(model_path)),
            *("--port", str(port), *flags),
        ]
        self.environment = _environment(env or {}, plugin_paths)
        self.grace_s = grace_s
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(
        self, timeout_s: float = 600, progress: Callable[[float], None] | None = None
    ) -> float:
        """Start the server and wait until /health answers; returns the seconds it took.

        progress: called about twice a second with the seconds waited so far.
        Raises PortInUse, ServerDied or ServerNotHealthy; then nothing is left running.
        """
        if self._supervisor is not None:
            raise LabError(f"the server on port {self.port} was started already")
        if ports.in_use(self.port):
            raise PortInUse(
                f"port {self.port} is in use by {ports.owner(self.port)}; choose another: --port"
            )
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with self.log_path.open("wb") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", supervisor.__file__, str(self.grace_s), *self.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        try:
            while not self.healthy():
                waited = time.monotonic() - began
                if not self.alive:
                    raise ServerDied(
                        f"the server ended after {waited:.0f} s, before it was healthy: "
                        f"{self.death_reason()} ({self.log_path})"
                    )
                if waited > timeout_s:
                    raise ServerNotHealthy(
                        f"the server was not healthy within {timeout_s:.0f} s (--timeout); "
                        f"its log says last: {self.log_tail(1)} ({self.log_path})"
                    )
                if progress is not None:
                    progress(waited)
                time.sleep(0.5)
        except BaseException:  # Ctrl-C too: no server is left behind
            self.stop()
            raise
        return time.monotonic() - began

    @property
    def alive(self) -> bool:
        return self._supervisor is not None and self._supervisor.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The server's exit code, 128 + N for a signal; None while it runs."""
        return self._supervisor.poll() if self._supervisor is not None else None

    @property
    def pids(self) -> list[int]:
        """Every process of the server that runs now: launcher, scheduler, detokenizer ..."""
        if self._supervisor is None:
            return []
        root = self._supervisor.pid
        return supervisor.descendants(root, session=root)

    def healthy(self) -> bool:
        """Does /health answer within ten seconds? SGLang generates a token and needs over one."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}/health", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError, ValueError):
            return False

    def wait_dead(self, timeout_s: float) -> bool:
        """Wait until the server has ended, at most `timeout_s`; returns whether it has."""
        deadline = time.monotonic() + timeout_s
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.alive

    def stop(self) -> None:
        """End the server and every process it started; nothing else. May be called twice.

        An interrupt that comes meanwhile is held back until all is stopped.
        """
        started = self._supervisor
        if started is None:
            return
        with _held_back(signal.SIGINT, signal.SIGTERM):
            assert started.stdin is not None
            with suppress(OSError):
                started.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                started.wait(self.grace_s + 40)
            # Only where the supervisor was killed itself is anything left: of its session.
            supervisor.end(started.pid, self.grace_s, session=started.pid)

    def log(self) -> str:
        """The server's whole log so far."""
        try:
            return self.log_path.read_text(errors="replace")
        except OSError:
            return ""

    def log_tail(self, lines: int = 20) -> str:
        return server_log.tail(self.log(), lines)

    def death_reason(self) -> str:
        """Why the server ended, one sentence from its own log."""
        return server_log.reason(self.log())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _held_back:
    """Signals that arrive inside are delivered at the end. Main thread or not."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self.numbers = set(numbers)

    def __enter__(self) -> None:
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, self.numbers)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


def _environment(added: Mapping[str, str | None], plugin_paths: Sequence[Path]) -> dict[str, str]:
    found = {**os.environ, **_OURS}
    for name in NEVER_INHERITED:
        found.pop(name, None)
    for name, value in added.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    inherited = found.get("PYTHONPATH", "").split(os.pathsep)
    path = [*map(str, plugin_paths), *filter(None, inherited)]
    here = str(Path(triage.__file__).parents[1])
    if here not in path and not _is_site(here):
        path.append(here)
    if path:
        found["PYTHONPATH"] = os.pathsep.join(path)
    return found


def _is_site(folder: str) -> bool:
    """Is `folder` on the path of every interpreter of this environment anyway?"""
    return Path(folder).name in ("site-packages", "dist-packages")
