"""A folder of drivers, each played under the first of its releases that is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from triage.errors import LabError
from triage.lab import bootstrap, versions
from triage.lab.blind.driver import ANY_RELEASE, releases_of

Row = dict[str, Any]
Progress = Callable[[int, int], None]
LOOKED_AT_S = 0.5


def drivers_of(path: Path) -> list[Path]:
    """The drivers of a folder by name, or the one that `path` is. Raises LabError."""
    if path.is_file():
        return [path]
    found = sorted(each for each in path.glob("*.py") if not each.name.startswith("_"))
    if not found:
        raise LabError(f"{path} holds no driver: one Python file each (docs/how-to/blind-round.md)")
    return found


def plan(files: Sequence[Path], release: str | None) -> dict[str, list[Path]]:
    """Release -> what is played under it.

    release: one for all, "all" for every one that a driver names, None for the installed one
        where the driver names it, else the first that it names and that is at hand.
    """
    at_hand = tuple(versions.available())
    installed = bootstrap.sglang_version()
    planned: dict[str, list[Path]] = {}
    for file in files:
        for version in _under(releases_of(file), release, installed, at_hand):
            planned.setdefault(version, []).append(file)
    return planned


def _under(
    named: Sequence[str], release: str | None, installed: str, at_hand: Sequence[str]
) -> Sequence[str]:
    anywhere = ANY_RELEASE in named or not named
    if release == ANY_RELEASE:
        return at_hand if anywhere else [each for each in at_hand if each in named]
    if release is not None:
        return [release]
    if anywhere or installed in named:
        return [installed]
    there = [each for each in named if each in at_hand]
    return there[:1] or [installed]  # which then says that it does not apply


def play(
    path: Path,
    release: str | None,
    checks: Sequence[str],
    directory: Path,
    *,
    rehearse: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[Row]:
    """A row for each driver, release and set of checks, in that order.

    rehearse: without the traps; does each driver show its defect, and only where it is planted?
    Raises LabError where a release's player cannot run at all.
    """
    planned = plan(drivers_of(path), release)
    total = sum(len(files) for files in planned.values()) * len(checks)
    rows: list[Row] = []
    for version, files in planned.items():

        def told(here: int, before: int = len(rows)) -> None:
            progress(before + here, total)

        rows += _under_release(version, files, checks, directory, rehearse, told)
    return rows


def _under_release(
    version: str,
    files: Sequence[Path],
    checks: Sequence[str],
    directory: Path,
    rehearse: bool,
    told: Callable[[int], None],
) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="triage_blind_") as scratch:
        request, results = Path(scratch) / "request.json", Path(scratch) / "results.jsonl"
        errors = Path(scratch) / "log"
        results.touch()
        asked = {
            "files": [str(file.resolve()) for file in files],
            "checks": list(checks),
            "directory": str(directory / version),
            "results": str(results),
            "rehearse": rehearse,
        }
        request.write_text(json.dumps(asked))
        command = [sys.executable, "-m", "triage.lab.blind.player", str(request)]
        with errors.open("w") as log:
            player = subprocess.Popen(
                command, env=versions.environment(version), stdout=log, stderr=log
            )
            try:
                while player.poll() is None:
                    told(len(results.read_text().splitlines()))
                    time.sleep(LOOKED_AT_S)
            finally:
                if player.poll() is None:
                    player.kill()
                    player.wait()
        rows = [json.loads(line) for line in results.read_text().splitlines()]
        if player.returncode or len(rows) != len(files) * len(checks):
            raise LabError(
                f"the player of SGLang {version} ended with {player.returncode} after "
                f"{len(rows)} of {len(files) * len(checks)} lines: {errors.read_text()[-600:]}"
            )
        return rows
