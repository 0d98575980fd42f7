"""`triage report`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from triage.commands.completion import names
from triage.commands.options import force_option
from triage.commands.progress import progress
from triage.errors import DumpError
from triage.explain.together import together
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import check_output, write_output
from triage.importers.anything import STDIN, read_anything


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", shell_complete=names(tuple, files=True)
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The page, one HTML file.")
@click.option("--png", type=click.Path(path_type=Path), help="A picture of the first dump.")
@click.option("--json", "as_json", is_flag=True, help="Print what the page holds as JSON.")
@force_option
def report(
    files: tuple[str, ...], output: Path | None, png: Path | None, as_json: bool, force: bool
) -> None:
    """Make one page that shows the fault in FILE..., its cause and what to do next.

    FILE is whatever `triage explain` reads: dumps, logs, folders of them. The page is one
    file that loads nothing: the page table as a map, the pools, the flight recorder, what
    each fix does. It is made for a browser, for print and for screen readers.
    """
    if output is None and png is None and not as_json:
        raise click.UsageError("name what to make: -o page.html, --png picture.png or --json")
    given = tuple(Path(each) for each in files if each != STDIN)
    for path in (output, png):
        if path is not None:
            check_output(path, force=force, inputs=given)
    from triage.report.contents import contents

    with progress("report", 3) as tell:
        found = read_anything(files, sys.stdin.buffer if STDIN in files else None)
        tell(1, now="explaining")
        read = together(found)
        tell(2, now="drawing")
        held = contents(read)
    if output is not None:
        from triage.report.page import html

        written = write_output(output, html(held), force=force, inputs=given)
        echo(f"wrote {written}; next: open it in a browser", err=as_json)
    if png is not None:
        from triage.report.picture import draw

        dump = next((each.dump for each in read.inputs if each.dump is not None), None)
        if dump is None:
            raise DumpError("no dump among the files, and only a dump can be drawn")
        with progress("report: matplotlib draws"):
            picture = draw(dump, png.suffix)
        echo(f"wrote {write_output(png, picture, force=force, inputs=given)}", err=as_json)
    if as_json:
        echo(report_json("report", held, indent=2))
    raise SystemExit(2 if any(each.unread for each in read.inputs) else 0)
