"""`triage show`."""

from __future__ import annotations

from pathlib import Path

import click

from triage.commands.options import force_option
from triage.commands.progress import progress
from triage.dump.file import read_dump
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import check_output, write_output
from triage.report.summary import summarise


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option("-v", "--verbose", is_flag=True, help="Print every section, not one screen.")
@click.option("--rows", type=click.IntRange(0), help="With -v: rows to list, 8 if not said.")
@click.option("--history", is_flag=True, help="List the launches of the flight recorder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the page ids to this file.")
@force_option
def show(
    dump: Path,
    verbose: bool,
    rows: int | None,
    history: bool,
    as_json: bool,
    picture: Path | None,
    force: bool,
) -> None:
    """Print what DUMP holds on one screen, the fault first; -v prints all of it.

    --rows implies -v; with --json it lists so many rows instead of all.
    """
    if picture is not None:
        check_output(picture, force=force, inputs=(dump,))
        read = read_dump(dump)
        with progress("show: matplotlib draws"):
            from triage.report.picture import draw

            drawn = draw(read, picture.suffix)
        echo(f"wrote {write_output(picture, drawn, force=force, inputs=(dump,))}")
        return
    read = read_dump(dump)
    if not (verbose or rows is not None or history or as_json):
        from triage.report.brief import print_brief

        print_brief(read, str(dump))
        return
    summary = summarise(read, rows=rows, whole=as_json)
    if as_json:
        echo(report_json("show", summary, indent=2))
        return
    from triage.report.show import print_history, print_summary

    if history:
        print_history(summary, str(dump))
        return
    print_summary(summary, str(dump))
