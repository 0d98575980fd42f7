"""The soak in several processes: each plays a share under one release and writes its own file.

They are processes of this machine, or of Ray's workers; those hand the file back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

from triage.engines import Engine, Lost
from triage.errors import LabError
from triage.files.writing import write_output
from triage.lab.jobs import Command, Ended, run_triage
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


class Task(NamedTuple):
    """A share for a worker elsewhere. played: what its file held before."""

    share: Share
    steps: int
    seed: int
    mode: str
    played: bytes


def play_share(task: Task) -> tuple[Ended, bytes]:
    """Play it in a folder of the worker's; how that ended, and the file. Its dumps stay there."""
    with tempfile.TemporaryDirectory(prefix="triage-soak-") as scratch:
        output = Path(scratch) / "played.jsonl"
        if task.played:
            output.write_bytes(task.played)
        folder = Path(tempfile.gettempdir()) / f"triage-soak-dumps-{task.share.number}"
        command = _command(task.share, task.steps, task.seed, folder, task.mode, output)
        ended = run_triage(command)
        return ended, output.read_bytes() if output.exists() else b""


def play_over(
    engine: Engine,
    parts: Sequence[Share],
    steps: int,
    seed: int,
    mode: str,
    progress: Progress,
) -> None:
    """As `play`, over the workers of `engine`. Raises LabError if a share ends early."""
    each = -(-steps // len(parts))
    tasks = [
        Task(part, each, seed, mode, part.output.read_bytes() if part.output.exists() else b"")
        for part in parts
    ]
    for number, (task, answer) in enumerate(engine.map(play_share, tasks), 1):
        if isinstance(answer, Lost):
            raise LabError(f"share {task.share.number}: {answer.reason}")
        ended, played = answer
        if played:
            write_output(task.share.output, played, force=True, error=LabError)
        _ended_well(task.share, ended)
        progress(min(number * each, steps), steps)


def _command(part: Share, steps: int, seed: int, folder: Path, mode: str, output: Path) -> Command:
    arguments = ["lab", "soak", "--json", "--mode", mode, "--steps", str(steps)]
    arguments += ["--seed", str(seed + SEEDS * part.number)]
    arguments += ["--dir", str(folder), "--output", str(output)]
    return Command(tuple(arguments), part.version)


def _ended_well(part: Share, ended: Ended) -> None:
    if ended.code not in (0, 1):
        last = (ended.said.strip() or "nothing said").splitlines()[-1]
        raise LabError(
            f"share {part.number} under SGLang {part.version} ended with exit code "
            f"{ended.code}: {last}; the same command goes on where it stopped"
        )


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
        _ended_well(part, run_triage(_command(part, each, seed, folder, mode, part.output)))

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
