"""What the lab's commands share: the release they run under, and where dumps go."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from triage.config import DEFAULT_DIRECTORY, DIRECTORY, local_directory

dumps_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=lambda: local_directory(os.environ),
    show_default=str(DEFAULT_DIRECTORY),
    help=f"Where dumps go, if {DIRECTORY} does not say.",
)
"""As a server that the variable is set for, so that `triage run` finds what the lab dumped.
Where that is a URL the lab's dumps stay in its spool: a defect of the lab is nobody's fleet."""


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
