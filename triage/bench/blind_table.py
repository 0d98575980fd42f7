"""The tables of a blind round from what was stored: `python -m triage.bench.blind_table DIR KIND`.

DIR holds KIND-1.json of the first play, as `triage lab blind FOLDER --out` wrote it, KIND-2.json
of a second, and beside each KIND-N.judged.json with what a person said of the answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from triage.errors import LabError, TriageError
from triage.lab.blind import judgement
from triage.report.blind import KINDS, plays, summary


def stored(directory: Path, kind: str) -> list[list[dict[str, Any]]]:
    """The rows of each play, judged, the first first. Raises LabError where none is stored."""
    found = []
    for file in sorted(directory.glob(f"{kind}-[0-9].json")):
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
        by_hand = file.with_suffix(".judged.json")
        found.append(judgement.judged(rows, judgement.read(by_hand) if by_hand.exists() else {}))
    if not found:
        raise LabError(f"{directory} holds no {kind}-1.json of a first play")
    return found


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("kind", type=click.Choice(KINDS))
def main(directory: Path, kind: str) -> None:
    """Print the table of KIND, and below it the totals of each play."""
    try:
        played = stored(directory, kind)
    except TriageError as error:
        raise click.ClickException(str(error)) from error
    for line in plays(kind, played):
        click.echo(line)
    for number, rows in enumerate(played, 1):
        for line in summary(kind, rows).splitlines():
            click.echo(f"play {number}: {line}")


if __name__ == "__main__":
    main()
