"""`--engine` and what goes with it, as every command takes it that can spread its work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from triage import engines

_OPTIONS = (
    click.option(
        "--engine",
        "engine",
        type=click.Choice(engines.NAMES),
        default="local",
        show_default=True,
        help="Processes of this machine, or Ray's workers (RAY_ADDRESS, else a cluster of "
        "this machine).",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Tasks at a time; if not given, all processors for what is split here.",
    ),
)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--engine` and `--workers` to a command, as `engine` and `workers`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
