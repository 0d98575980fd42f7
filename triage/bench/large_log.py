"""What `triage explain` takes for a server's log of 100 MB with a fault in its last lines.

Processor time is beside the wall time: on a shared machine only the first says what the
command costs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from triage.bench.figure import Figure, at_most

LOG_BYTES = 100_000_000
LIMIT_SECONDS, LIMIT_MB = 3.0, 100.0
RUNS = 3
_LINE = (
    "[2026-11-03 10:00:{:02d} TP0] Decode batch, #running-req: {}, #full token: 4928, full token "
    "usage: 0.12, #swa token: 1984, swa token usage: 0.12, accept len: 1.00, accept rate: 0.00, "
    "cuda graph: True, gen throughput (token/s): 786.33, #queue-req: 0\n"
)
_END = """\
terminate called after throwing an instance of 'c10::AcceleratorError'
  what():  CUDA error: an illegal memory access was encountered
Fatal Python error: Aborted
[2026-11-03 10:00:59] Subprocess scheduler_0 (pid=2099) crashed with exit code -6. Triggering SIGQUIT for cleanup...
"""  # noqa: E501


def figures() -> list[Figure]:
    """Three runs, each in a process of its own: medians, and the largest peak."""
    with tempfile.TemporaryDirectory(prefix="triage-log-") as place:
        log = Path(place) / "server.log"
        _write(log)
        runs = [_run("-m", "triage", "explain", str(log)) for _ in range(RUNS)]
    wall, spent, peak = zip(*runs, strict=True)
    name = "triage explain of a 100 MB log"
    beside = f"wall {statistics.median(wall):.2f} s"
    return [
        at_most(f"{name}, processor time", statistics.median(spent), LIMIT_SECONDS, "s", beside),
        at_most(f"{name}, peak memory", max(peak), LIMIT_MB, "MB"),
    ]


def _write(log: Path) -> None:
    block = "".join(_LINE.format(second, second % 9) for second in range(60)).encode() * 64
    with log.open("wb") as file:
        while file.tell() < LOG_BYTES - len(block):
            file.write(block)
        file.write(_END.encode())


_SMALL_PARENT = """
import os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
print(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)
child.returncode = os.waitstatus_to_exitcode(status)
sys.exit(child.returncode)
"""
"""Linux counts the pages of whoever starts a process to its peak, so this parent has few."""


def _run(*arguments: str) -> tuple[float, float, float]:
    """Wall seconds, processor seconds (user and system) and peak resident MB of one process."""
    command = [sys.executable, "-c", _SMALL_PARENT, sys.executable, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall, spent, peak = map(float, done.stdout.split())
    return wall, spent, peak
