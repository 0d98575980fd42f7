"""A stored record of figures as a table: `python -m triage.bench.record_table RECORD`.

RECORD is JSON: `measured` (the day), `on` (the machine), `command` (what measured it), the
`columns` and the `rows`. Such a figure cannot be measured again by a test, since it took hours
or a GPU. Whoever measures it anew writes its record, and the table follows from that alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from triage.errors import TriageError

KEYS = ("measured", "on", "command", "columns", "rows")


class NotARecord(TriageError):
    """The file lacks a key, or a row has another number of cells than there are columns."""


def markdown(record: dict[str, Any]) -> str:
    """One line per row; the last line, which is no row, says when, where and by what command.

    Raises NotARecord.
    """
    missing = [key for key in KEYS if key not in record]
    if missing:
        raise NotARecord(f"no {', '.join(missing)}; a record has {', '.join(KEYS)}")
    columns, rows = record["columns"], record["rows"]
    for number, row in enumerate(rows):
        if len(row) != len(columns):
            raise NotARecord(f"row {number} has {len(row)} cells, not {len(columns)}: {row[0]!r}")
    lines = [_line(columns), "|" + "---|" * len(columns), *map(_line, rows)]
    made = f"{record['measured']}, {record['on']}: `{record['command']}`"
    return "\n".join([*lines, f"Record of {made}"])


def _line(cells: list[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


@click.command()
@click.argument("record", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(record: Path) -> None:
    """Print the table of RECORD."""
    try:
        click.echo(markdown(json.loads(record.read_text())))
    except (NotARecord, ValueError) as error:
        raise click.ClickException(f"{record}: {error}") from error


if __name__ == "__main__":
    main()
