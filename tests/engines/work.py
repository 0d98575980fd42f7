"""Functions that workers run: they are imported there by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def double(number: int) -> int:
    return 2 * number


def die_of(task: tuple[int, int]) -> int:
    """Kills its worker where both numbers are the same."""
    number, deadly = task
    if number == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(task: tuple[int, str]) -> int:
    """Kills its worker the first time that anybody gets so far."""
    number, marker = task
    if number == 3:
        try:
            Path(marker).touch(exist_ok=False)
        except FileExistsError:
            return number
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number: int) -> int:
    raise ValueError(f"not {number}")


def whoami(_: int) -> int:
    return os.getpid()


def gpu_of(_: int) -> str:
    """The GPU that Ray gave to this task, held long enough that another would meet it."""
    time.sleep(0.3)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")


def resident_bytes(_: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
