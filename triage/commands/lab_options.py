"""What the lab's commands share: the release they run under."""

from __future__ import annotations

import sys


def under(version: str | None) -> None:
    """Go on under SGLang `version`, restarting this process if another one is installed."""
    from triage.lab import bootstrap, versions

    if version is not None and version != bootstrap.sglang_version():
        versions.restart(version, _without_version(sys.argv[1:]))
    bootstrap.prepare()


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
