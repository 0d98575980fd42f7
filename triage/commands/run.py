"""`triage run`: a command under the traps."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import click

from triage import config
from triage.commands.completion import check_names, names
from triage.errors import LabError
from triage.files.reports import report_json
from triage.files.text import echo
from triage.run import process
from triage.run.outcome import Observer, text


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--mode", type=click.Choice(config.MODES), help="What a bad launch meets.")
@click.option(
    "--checks",
    shell_complete=names(check_names),
    help="Families or invariants, as the variable takes them.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="Where dumps go; a new directory of this run if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="End standard output with a line of JSON.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
def run(
    mode: str | None,
    checks: str | None,
    directory: Path | None,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """Run CMD with the traps armed, and say at its end what was dumped and why.

    Signals are passed on to CMD, and its exit code is the exit code: 128 + n if signal n ended
    it, 127 if there is no such command, 126 if it cannot be executed. Variables that are set
    already hold, unless an option says otherwise. What is said goes to standard error.
    """
    given = {config.MODE: mode, config.CHECKS: checks, config.DIRECTORY: directory}
    environment = {**os.environ, config.DEBUG: "1"}
    environment |= {name: str(value) for name, value in given.items() if value is not None}
    made = None
    if config.DIRECTORY not in environment:
        made = config.DEFAULT_DIRECTORY / f"run-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
        environment[config.DIRECTORY] = str(made)
    asked = config.from_environment(environment)
    for sentence in config.warnings(environment):
        echo(f"triage run: {sentence}", err=True)
    if made is not None:
        try:
            config.DEFAULT_DIRECTORY.mkdir(mode=0o700, exist_ok=True)
            made.mkdir(mode=0o700)
        except OSError as error:
            raise LabError(
                f"cannot make {made}: {error.strerror}; --dir names another place"
            ) from error
    observer = Observer(asked.directory)
    try:
        code = process.run(command, environment, observer.look)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        echo(f"triage run: {command[0]}: {error.strerror}", err=True)
        raise SystemExit(process.NOT_FOUND if missing else process.NOT_EXECUTABLE) from None
    finally:
        if made is not None:  # ours, and only if nobody wrote into it
            with contextlib.suppress(OSError):
                made.rmdir()
    outcome = observer.outcome(command, code, asked.mode)
    for line in text(outcome):
        echo(line, err=True)
    if as_json:
        echo(report_json("run", outcome.json()))
    raise SystemExit(code)
