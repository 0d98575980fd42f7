"""How a command ends that writes files: what it wrote, and the command that goes on from there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from triage.files.reports import report_json
from triage.files.text import echo

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def tell_written(
    paths: Iterable[Path],
    *,
    as_json: bool,
    next_commands: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Print what was written, as sentences or as one object.

    notes: what the reader has to know of it, whole sentences.
    """
    written = [str(path) for path in paths]
    if as_json:
        told = {"written": written, "notes": list(notes), "next": list(next_commands)}
        echo(report_json("written", told))
        return
    for each in (*(f"wrote {path}" for path in written), *notes):
        echo(each)
    for command in next_commands:
        echo(f"next: {command}")
