"""`triage show`."""

from __future__ import annotations

from pathlib import Path

import click

from triage.commands.options import force_option
from triage.dump.file import read_dump
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import check_output, write_output
from triage.report.summary import summarise


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(0), help="Rows to list: 8 of them, or in JSON all.")
@click.option("--history", is_flag=True, help="List the launches of the flight recorder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the page ids to this file.")
@force_option
def show(
    dump: Path, rows: int, history: bool, as_json: bool, picture: Path | None, force: bool
) -> None:
    """Print what DUMP holds; rows with bad entries come first."""
    if picture is not None:
        from triage.report.picture import draw

        check_output(picture, force=force, inputs=(dump,))
        drawn = draw(read_dump(dump), picture.suffix)
        echo(f"written: {write_output(picture, drawn, force=force, inputs=(dump,))}")
        return
    summary = summarise(read_dump(dump), rows=rows, whole=as_json)
    if as_json:
        echo(report_json("show", summary, indent=2))
        return
    from triage.report.show import print_history, print_summary

    if history:
        print_history(summary, str(dump))
        return
    print_summary(summary, str(dump))
