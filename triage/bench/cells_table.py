"""The record of `make gpu-server` as a table: `python -m triage.bench.cells_table RECORD`.

RECORD is the `results.jsonl` that runs have left, all of them joined; where it is not there, or has
nothing of a cell, the cell is "not played yet". A row is a server; a part that was played again
stands as it came out last, and requests are counted over all lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from triage.lab.server.cells import CELLS, REFUSED, ServerCell
from triage.lab.server.smoke.results import Cell, Results
from triage.lab.server.smoke.summary import equal_outputs

COLUMNS = ("server", "starts", "answers equal to off's", "mixed load", "defect")
NOT_PLAYED = "not played yet"
PROMISED_REQUESTS = 20_000
LONGEST = 180

Json = Mapping[str, Any]


def markdown(record: Path) -> str:
    """One row a cell, and what all lines say together."""
    results = Results(record)
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|" + "---|" * (len(COLUMNS) - 1)]
    for each in CELLS:
        lines.append(f"| {' | '.join(_row(each, results))} |")
    requests, alarms = counted(record)
    said = f"{requests} of {PROMISED_REQUESTS} requests, {alarms} alarms"
    lines.append(f"| all mixed loads |  |  | {said} |  |")
    for cell in results.cells.values():
        if cell.job == "machine":
            said = ", ".join(f"{k} {v}" for k, v in cell.figures.items() if v is not None)
            lines.append(f"| machine of {cell.name} | {_short(said)} |  |  |  |")
    return "\n".join(lines)


def counted(record: Path) -> tuple[int, int]:
    """(mixed requests answered or aborted by the load with us on, loads in which we spoke)."""
    requests = alarms = 0
    for figures in _mixed(record):
        if figures.get("dumps"):
            alarms += 1
        else:
            requests += int(figures.get("ok", 0)) + int(figures.get("aborted", 0))
    return requests, alarms


def _mixed(record: Path) -> Iterator[Json]:
    """Figures of every mixed load in the record, those that were played again too."""
    for line in record.read_text().splitlines() if record.exists() else ():
        try:
            found = json.loads(line)
        except ValueError:  # cut off while it was written
            continue
        if found.get("name") == "mixed" and "ok" in found.get("figures", {}):
            yield found["figures"]


def _row(each: ServerCell, results: Results) -> list[str]:
    def of(name: str) -> Cell | None:
        return results.cells.get(f"{each.job.name}/{name}")

    name = each.job.name
    parts = [part.partition(":")[0] for part in each.job.parts]
    if each.mode == REFUSED:
        refused = of("refused")
        said = NOT_PLAYED if refused is None else _held(refused)
        if refused is not None and refused.held:
            said = refused.figures.get("death") or refused.figures.get("said", "")
            said = f"refused by SGLang: {said}"
        return [name, _short(said), "", "", ""]
    defect = next((p for p in ("alarm", "logged", "mixed_alarm") if p in parts), "")
    return [
        name,
        _start(of("start")),
        _answers(each, results, of("plain")) if "plain" in parts else "",
        _load(of("mixed")) if "mixed" in parts else "",
        _defect(of(defect)) if defect else "",
    ]


def _start(cell: Cell | None) -> str:
    if cell is None or cell.held is not True:
        return _not(cell)
    return f"{cell.figures.get('start_s')} s"


def _answers(each: ServerCell, results: Results, cell: Cell | None) -> str:
    if cell is None or cell.held is not True:
        return _not(cell)
    if not each.like:
        return f"{cell.figures.get('ok')} answered"
    found = equal_outputs(results, each.job.name, "plain", each.like)
    if found is None:
        return "off not played yet"
    said = f"{found['equal']} of {found['of']}"
    if "same batches" not in found:
        return said
    same, of = found["same batches"]
    return f"{said}; the first {same} of {of} batches of prompts were the same"


def _load(cell: Cell | None) -> str:
    if cell is None or cell.held is not True:
        return _not(cell)
    figures = cell.figures
    return f"{figures.get('ok')} answered, {figures.get('aborted')} aborted, no alarm"


def _defect(cell: Cell | None) -> str:
    if cell is None or cell.held is not True:
        return _not(cell)
    named = {key for dump in cell.figures.get("dumps", ()) for key in dump.get("keys", ())}
    seen = cell.figures.get("oracle") or {}
    step = f"step {seen['first_wrong']}, as the oracle says; " if seen.get("first_wrong") else ""
    told = "logged in " if cell.name == "logged" and step else "alarm in " if step else ""
    return f"{told}{step}{', '.join(sorted(named))}"


def _not(cell: Cell | None) -> str:
    return NOT_PLAYED if cell is None else _short(_held(cell))


def _held(cell: Cell) -> str:
    return f"{NOT_PLAYED}: {cell.why}" if cell.held is None else f"DID NOT HOLD: {cell.why}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= LONGEST else f"{line[:LONGEST]}...").replace("|", "\\|")


@click.command()
@click.argument("record", type=click.Path(dir_okay=False, path_type=Path))
def main(record: Path) -> None:
    """Print the table of RECORD, which need not be there yet."""
    click.echo(markdown(record))


if __name__ == "__main__":
    main()
