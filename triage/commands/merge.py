"""`triage merge`."""

from __future__ import annotations

from pathlib import Path

import click

from triage.files.reports import report_json
from triage.files.text import echo


@click.command()
@click.argument(
    "dumps", nargs=-1, required=True, metavar="DUMPS...|DIR", type=click.Path(path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def merge(dumps: tuple[Path, ...], as_json: bool) -> None:
    """Set the dumps of a server's ranks beside each other: which diverged first, and when.

    DUMPS are files, or folders with dumps anywhere below. Ranks are aligned by step, not by
    clock. What is missing, twice, unreadable or of another run is counted and said.

    Exit code: 0 the ranks agree, 1 they diverged, 2 usage or nothing to read, 3 nothing that
    two ranks recorded.
    """
    from triage.ranks import merge as merged

    found = merged(dumps)
    if as_json:
        echo(report_json("merge", found.as_dict(), indent=2))
    else:
        for line in found.lines():
            echo(line)
    raise SystemExit(found.exit_code)
