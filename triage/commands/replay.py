"""`triage replay`."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote

import click

from triage.commands.completion import names, replay_fixes, replay_kernels
from triage.commands.progress import progress
from triage.dump.file import read_dump
from triage.files.reports import report_json
from triage.files.text import echo
from triage.replay.engine import DEFAULT_TIMEOUT_S, replay_file
from triage.replay.memory import BUDGET, DEFAULT_BYTES
from triage.replay.verdict import exit_code


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option(
    "--kernel",
    "kernels",
    shell_complete=names(replay_kernels),
    multiple=True,
    default=("all",),
    show_default=True,
    help="Kernel to run the launch on, again for several; trtllm-gen, which crashed, has a line "
    "with any.",
)
@click.option(
    "--fix",
    default="",
    shell_complete=names(replay_fixes),
    help="Apply a fix to the launch first: state-swap or clamp.",
)
@click.option("--timeout", default=DEFAULT_TIMEOUT_S, show_default=True, help="Seconds per kernel.")
@click.option(
    "--memory",
    default=DEFAULT_BYTES / 2**30,
    show_default=True,
    type=click.FloatRange(0.01, 1024),
    help="GiB of host memory that one kernel's replay may take; looked at before it starts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(
    dump: Path, kernels: tuple[str, ...], fix: str, timeout: float, memory: float, as_json: bool
) -> None:
    """Run the launch recorded in DUMP again and say whether its fault recurs.

    Each kernel that executes runs in a process of its own. The emulator's
    verdict is deduced from addresses; the others are executed.
    """
    os.environ[BUDGET] = str(int(memory * 2**30))
    recorded = read_dump(dump)
    with progress("replay") as tell:
        verdicts = replay_file(dump, recorded, kernels, fix=fix, timeout_s=timeout, progress=tell)
    code = exit_code(verdicts)
    if as_json:
        report = {"exit_code": code, "verdicts": [verdict.as_dict() for verdict in verdicts]}
        echo(report_json("replay", report, indent=2))
    else:
        from triage.report.replay import print_verdicts

        print_verdicts(verdicts, recorded, fix)
        if code == 1:
            echo(f"next: triage minimise {quote(str(dump))} -o small.msgpack")
    raise SystemExit(code)
