"""What the lab's commands share: the release they run under, and a bar while they do."""

from __future__ import annotations

import sys
from typing import Any

from triage.files.text import console


def under(version: str | None) -> None:
    """Go on under SGLang `version`, restarting this process if another one is installed."""
    from triage.lab import bootstrap, versions

    if version is not None and version != bootstrap.sglang_version():
        versions.restart(version, _without_version(sys.argv[1:]))
    bootstrap.prepare()


def counted(what: str, work: Any) -> Any:
    """Run `work(progress)` with a bar on stderr; none where stderr is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console(err=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        return work(lambda done, total: bar.update(task, completed=done, total=total))


def _without_version(arguments: list[str]) -> list[str]:
    """The command line less `--sglang VERSION`, for the process that runs under it."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "--sglang":
            skip = True
        elif not argument.startswith("--sglang="):
            kept.append(argument)
    return kept
