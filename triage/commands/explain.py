"""`triage explain`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from triage.dump.file import read_dump
from triage.explain import explain as explain_dump


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(dump: Path, as_json: bool) -> None:
    """Name the cause of DUMP with its evidence, or say that it is unknown.

    The exit code is 0 whenever the dump could be read: an unknown cause is an answer.
    """
    explanation = explain_dump(read_dump(dump))
    if as_json:
        click.echo(json.dumps(explanation.as_dict(), indent=2))
        return
    from triage.report.explain import print_explanation

    print_explanation(explanation)
