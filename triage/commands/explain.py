"""`triage explain`."""

from __future__ import annotations

from pathlib import Path

import click

from triage.dump.file import read_dump
from triage.explain import explain as explain_dump
from triage.files.text import echo, to_json
from triage.invariants import catalogue


@click.command()
@click.argument("dump", metavar="DUMP|INVARIANT", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(dump: Path, as_json: bool) -> None:
    """Name the cause of DUMP with its evidence, or say that it is unknown.

    With the name of an INVARIANT instead, as I12: what it means, an example, what to try.
    The exit code is 0 whenever the dump could be read: an unknown cause is an answer.
    """
    row = catalogue.find(dump.name.upper())
    if row is not None and not dump.exists():
        echo(to_json(row.as_dict(), indent=2) if as_json else catalogue.page(row))
        return
    explanation = explain_dump(read_dump(dump))
    if as_json:
        echo(to_json(explanation.as_dict(), indent=2))
        return
    from triage.report.explain import print_explanation

    print_explanation(explanation)
