"""A cluster of Ray's that runs already, as `ray start --head` leaves one."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
STARTS_WITHIN_S = 90.0


@dataclass(slots=True)
class Cluster:
    """address: of its head. client: the `ray://` one. environment: what finds and may use it."""

    address: str
    client: str
    environment: dict[str, str]
    head: psutil.Process

    @contextmanager
    def one_worker_killed(self, function: str, below: bool) -> Iterator[None]:
        """SIGKILL the first worker that is seen in `function` (below: with a process of its own).

        Where none was by the end, or what ran below it runs on, the test fails.
        """
        killed: list[psutil.Process] = []
        ended = threading.Event()

        def look() -> None:
            while not killed and not ended.wait(0.02):
                for worker in self.head.children(recursive=True):
                    with suppress(psutil.Error):
                        title = (worker.cmdline() or [""])[0]
                        if not title.startswith(f"ray::{function}"):
                            continue
                        children = worker.children()
                        if children or not below:
                            worker.kill()
                            killed[:] = [worker, *children]
                            break

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            ended.set()
            looking.join()
        assert killed, f"no worker was seen in {function}"
        assert not psutil.wait_procs(killed, timeout=10)[1]


@contextmanager
def head(cpus: int = 2) -> Iterator[Cluster]:
    """Ends with every process that it started."""
    port, client = _free(), _free()
    shown = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels"), *filter(None, sys.path)]),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "OMP_NUM_THREADS": "1",
    }
    with tempfile.TemporaryDirectory(prefix="ray-") as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as out:
            running = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                    *("--port", str(port), "--ray-client-server-port", str(client)),
                    *("--num-cpus", str(cpus), "--include-dashboard", "false"),
                    *("--object-store-memory", str(100 << 20), "--temp-dir", scratch),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=shown,
                start_new_session=True,
            )
        try:
            until = time.monotonic() + STARTS_WITHIN_S
            while "Ray runtime started" not in log.read_text() or not _listens(client):
                assert running.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.2)
            yield Cluster(
                f"127.0.0.1:{port}",
                f"ray://127.0.0.1:{client}",
                shown,
                psutil.Process(running.pid),
            )
        finally:
            _end(running)


def _end(running: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.Error):
        ours = psutil.Process(running.pid).children(recursive=True)
        running.terminate()
        _, left = psutil.wait_procs(ours, timeout=10)
        for each in left:
            with suppress(psutil.Error):
                each.kill()
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False
