"""Wall time of `triage show` and `triage explain` in a new process, bare Python beside it."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

from triage.bench.figure import Figure, at_most, median_seconds

LIMIT_SECONDS = 0.4


def figures(path: Path) -> list[Figure]:
    bare = median_seconds(functools.partial(_run, "-c", "pass"), 5)
    found = []
    for command in ("show", "explain"):
        seconds = median_seconds(functools.partial(_run, "-m", "triage", command, str(path)), 7)
        beside = f"bare interpreter {bare:.2f} s"
        found.append(at_most(f"triage {command}, cold", seconds, LIMIT_SECONDS, "s", beside))
    return found


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
