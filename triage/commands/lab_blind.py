"""`triage lab blind`: a folder by people who have not read the checks, and its first-play table."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click

from triage.commands import completion as complete
from triage.commands.lab_options import dumps_option
from triage.commands.options import force_option
from triage.commands.progress import counted
from triage.files.reports import report_json
from triage.files.text import console, echo
from triage.files.writing import check_output, write_output
from triage.report.blind import (
    ARTEFACTS,
    DEFECTS,
    KERNELS,
    KINDS,
    cells,
    columns,
    markdown,
    summary,
)

SETS = ("default", "all")
"""Of checks: what is on without a variable, and every family."""


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--kind", type=click.Choice(KINDS), help="Of the folder, where it cannot be seen.")
@click.option(
    "--sglang",
    "release",
    shell_complete=complete.names(complete.release_names),
    help="Under this release, or `all`; else the first that a driver names.",
)
@click.option(
    "--checks",
    multiple=True,
    shell_complete=complete.names(complete.check_names),
    help="Families or invariants; may be given again. Else `default`, and `all`.",
)
@click.option("--rehearse", is_flag=True, help="Without the traps: is each driver sound?")
@click.option("--judged", type=click.Path(exists=True, path_type=Path), help="Judgements by hand.")
@click.option(
    "--to-judge",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what is to be judged here, to be filled in.",
)
@dumps_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table.")
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what was played here, as JSON.",
)
@force_option
def blind(
    folder: Path,
    kind: str | None,
    release: str | None,
    checks: tuple[str, ...],
    rehearse: bool,
    judged: Path | None,
    to_judge: Path | None,
    directory: Path,
    as_json: bool,
    as_markdown: bool,
    out: Path | None,
    force: bool,
) -> None:
    """Play a FOLDER of defects, kernel mistakes or texts, and print what became of each.

    \b
    defects    a Python file each, which plants one defect in SGLang and has an oracle of its own
    kernels    a folder each, with mistake.json
    artefacts  a folder each, with expected.json

    docs/how-to/blind-round.md says what goes into them. Exit code: 0 all were caught, or
    recognised, and nothing else was said; 1 not; 2 usage.
    """
    for file in (out, to_judge):
        if file is not None:
            check_output(file, force=force)
    kind = kind or _kind_of(folder)
    rows = counted(kind, lambda bar: _rows(kind, folder, release, checks, directory, rehearse, bar))
    from triage.lab.blind import judgement

    if judged is not None:
        rows = judgement.judged(rows, judgement.read(judged))
    record = {"kind": kind, "played": date.today().isoformat(), "rows": rows}
    if out is not None:
        write_output(out, (report_json("lab-blind", record, indent=1) + "\n").encode(), force=force)
    if to_judge is not None:
        write_output(to_judge, judgement.form(rows).encode(), force=force)
    if as_json:
        echo(report_json("lab-blind", record))
    elif rehearse:
        _rehearsed(rows)
    elif as_markdown:
        echo(markdown(kind, rows))
    else:
        _table(kind, rows)
    if not (as_json or rehearse):
        echo(summary(kind, rows))
        for file in filter(None, (out, to_judge)):
            echo(f"wrote {file}")
    raise SystemExit(0 if all(_good(kind, row, rehearse) for row in rows) else 1)


def _kind_of(folder: Path) -> str:
    from triage.lab.blind import artefacts, kernels

    if any(folder.glob(f"*/{kernels.ABOUT}")):
        return KERNELS
    return ARTEFACTS if any(folder.glob(f"*/{artefacts.ABOUT}")) else DEFECTS


def _rows(
    kind: str,
    folder: Path,
    release: str | None,
    checks: tuple[str, ...],
    directory: Path,
    rehearse: bool,
    bar: Any,
) -> list[dict[str, Any]]:
    from triage.lab.blind import artefacts, kernels
    from triage.lab.blind import folder as drivers

    if kind == KERNELS:
        return kernels.play(folder, bar)
    if kind == ARTEFACTS:
        return artefacts.play(folder, bar)
    sets = ("default",) if rehearse else checks or SETS
    return drivers.play(folder, release, sets, directory, rehearse=rehearse, progress=bar)


def _good(kind: str, row: dict[str, Any], rehearse: bool) -> bool:
    if row["result"] == "not applicable":
        return True
    if kind == ARTEFACTS:
        return row["result"] == "recognised" and not row["lacks"] and not row["claims"]
    if rehearse:
        return row["result"] != "driver broken"
    return row["result"] in ("first wrong event", "later", "caught") and not row["false_alarm"]


def _rehearsed(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        sound = row["result"] not in ("driver broken", "not applicable")
        echo(f"{row['driver']} (SGLang {row['sglang']}): {'sound' if sound else row['result']}")
        echo(f"  {row['untrapped'] if sound else row['why']}")


def _table(kind: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(*columns(kind, rows))
    for row in cells(kind, rows):
        table.add_row(*row)
    console().print(table)
