"""`triage snap`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from triage.commands.written import json_option, tell_written
from triage.config import DEFAULT_DIRECTORY
from triage.dump.snap import directory_of
from triage.dump.snap import snap as take


@click.command()
@click.argument("pid", type=click.IntRange(min=1))
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="Where the server's dumps go; read from its environment if left out.",
)
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for the file.")
@json_option
def snap(pid: int, directory: Path | None, timeout: float, as_json: bool) -> None:
    """Have the armed server at PID write its flight recorder as a dump.

    The server goes on. PID may be the launcher's: every armed scheduler below it answers.
    """
    place = directory or directory_of(pid) or DEFAULT_DIRECTORY
    written = take(pid, place, timeout)
    shown = [f"triage show --history {quote(str(path))}" for path in written]
    tell_written(written, as_json=as_json, next_commands=shown)
