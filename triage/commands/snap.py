"""`triage snap`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from triage.config import DEFAULT_DIRECTORY
from triage.dump.snap import directory_of
from triage.dump.snap import snap as take
from triage.files.text import echo


@click.command()
@click.argument("pid", type=click.IntRange(min=1))
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="Where the server's dumps go; read from its environment if left out.",
)
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for the file.")
def snap(pid: int, directory: Path | None, timeout: float) -> None:
    """Have the armed server at PID write its flight recorder as a dump.

    The server goes on. PID may be the launcher's: every armed scheduler below it answers.
    """
    place = directory or directory_of(pid) or DEFAULT_DIRECTORY
    for path in take(pid, place, timeout):
        echo(f"wrote {path}")
        echo(f"next: triage show --history {quote(str(path))}")
