"""The soak in several processes: each plays a share under one release and writes its own file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

from triage.errors import LabError
from triage.lab import versions
from triage.lab.soak import Progress, lines_of

SEEDS = 10_000
"""Searches between the first numbers of two shares: none draws what another does."""

LOOK_S = 2.0  # between two looks at how far the files are


@dataclass(frozen=True, slots=True)
class Share:
    """`number` counts shares from 0, over all releases."""

    version: str
    number: int
    output: Path

    def lines(self) -> Iterator[dict[str, Any]]:
        """The searches it has written so far."""
        for line in lines_of(self.output, mend=False):
            if line["sglang"] == self.version:
                yield line


def shares(releases: Sequence[str], jobs: int, output: Path) -> list[Share]:
    """As many shares of each release as keep `jobs` processes busy to the end.

    One job writes `output`; several write a file for each share, named after it.
    """
    each = jobs // gcd(jobs, len(releases))
    played = list(releases) * each
    if jobs == 1:
        return [Share(version, number, output) for number, version in enumerate(played)]
    return [
        Share(version, number, output.with_name(f"{output.stem}-{number}{output.suffix}"))
        for number, version in enumerate(played)
    ]


def play(
    parts: Sequence[Share],
    jobs: int,
    steps: int,
    seed: int,
    directory: Path,
    mode: str,
    progress: Progress,
) -> None:
    """Play `steps` decode steps in all, `jobs` shares at a time. Raises LabError if one ends early.

    Every process has a folder of its own below `directory` and one thread.
    """
    each = -(-steps // len(parts))
    done = False

    def run(part: Share) -> None:
        if done:
            return
        folder = directory / f"{part.version}-{part.number}"
        command = [sys.executable, "-m", "triage", "lab", "soak", "--json", "--mode", mode]
        command += ["--steps", str(each), "--seed", str(seed + SEEDS * part.number)]
        command += ["--dir", str(folder), "--output", str(part.output)]
        environment = {**versions.environment(part.version), "OMP_NUM_THREADS": "1"}
        with tempfile.TemporaryFile("w+") as said:
            ended = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
            if ended.returncode in (0, 1):
                return
            said.seek(0)
            last = (said.read().strip() or "nothing said").splitlines()[-1]
        raise LabError(
            f"share {part.number} under SGLang {part.version} ended with exit code "
            f"{ended.returncode}: {last}; the same command goes on where it stopped"
        )

    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(run, part) for part in parts]
        while running:
            ended, _ = wait(running, timeout=LOOK_S)
            with suppress(LabError):  # of a file that is no soak's its own process tells
                played = sum(line["steps"] for part in parts for line in part.lines())
                progress(min(played, steps), steps)
            try:
                for one in ended:
                    running.remove(one)
                    one.result()
            except LabError:
                done = True  # what runs goes on to its end, nothing is begun
                raise
