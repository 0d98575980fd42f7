"""The record of `make gpu-smoke` as a table: `python -m triage.bench.smoke_table SUMMARY`.

SUMMARY is a `summary.json`, or one compressed with xz. One row per part that was played, in
the order it was played in; below it what the parts say together. Nothing is judged here:
whether a part held was decided when it was played, and is printed as it stands.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

HELD = {True: "held", False: "DID NOT HOLD", None: "not played"}

Json = Mapping[str, Any]

LONGEST = 200
"""Characters of a cell: the record holds the rest."""


def read(path: Path) -> Json:
    raw = path.read_bytes()
    found: Json = json.loads(lzma.decompress(raw) if path.suffix == ".xz" else raw)
    return found


def markdown(summary: Json) -> str:
    """Two columns of what and what came of it, as one Markdown table."""
    lines = ["| server / part | | what came of it |", "|---|---|---|"]
    for key, cell in summary["cells"].items():
        lines.append(f"| {key} | {HELD[cell['held']]} | {_cell(_figures(cell))} |")
    lines += [f"| {what} | | {_cell(outcome)} |" for what, outcome in _together(summary)]
    return "\n".join(lines)


def _figures(cell: Json) -> str:
    """The figures that a reader asks for first, and why a part did not hold."""
    figures = cell["figures"]
    parts = [cell["why"]] if cell["why"] else []
    if "start_s" in figures:
        parts.append(f"healthy after {figures['start_s']} s")
    if "ok" in figures:
        aborted = f", {figures['aborted']} aborted" if figures.get("aborted") else ""
        parts.append(f"{figures['ok']} answered{aborted}")
    if figures.get("tokens_per_s"):
        parts.append(f"{figures['tokens_per_s']:.0f} tok/s")
    if figures.get("accept_length"):
        parts.append(f"accept length {figures['accept_length']:.2f}")
    seen = figures.get("oracle") or {}
    if seen.get("first_wrong") is not None:
        raised = seen.get("raised")
        alarm = "no alarm" if raised is None else f"alarm in step {raised}"
        parts.append(f"first wrong in step {seen['first_wrong']} by the oracle, {alarm}")
    named = {name for dump in figures.get("dumps", ()) for name in dump.get("keys", ())}
    if named:
        parts.append(f"explained as {', '.join(sorted(named))}")
    if figures.get("lines") and cell["name"] == "crash":
        parts.append(f"`{figures['lines'][0][-120:]}`")
    if "seconds" in figures and cell["job"] == "doctor":
        parts.append(f"{figures['seconds']} s, exit code {figures['exit']}")
    return "; ".join(parts)


def _together(summary: Json) -> Iterator[tuple[str, str]]:
    here = summary.get("machine")
    if isinstance(here, Mapping):
        yield (
            "machine",
            ", ".join(f"{k} {v}" for k, v in here.items() if isinstance(v, (str, float))),
        )
    promised = summary["promises"]["false alarms"]
    yield (
        "false alarms",
        f"{len(promised['cells'])} in {promised['requests']} mixed requests of "
        f"{promised['of']} promised",
    )
    for what, found in summary["outputs equal to"].items():
        if found is not None and what != f"{found['to']}/plain":
            label = f"answers of {what} equal to those of {found['to']}"
            yield label, f"{found['equal']} of {found['of']}"
    for what, found in summary["draft tokens equal to off"].items():
        if found is not None and found["share"] is not None:
            yield f"draft tokens with {what} equal to the sound server's", f"{found['share']:.1%}"
    more = summary["promises"]["start seconds more than off"]
    if more is not None:
        yield "start, seconds more than without us", f"{more}"


def _cell(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= LONGEST else f"{line[:LONGEST]}...").replace("|", "\\|")


@click.command()
@click.argument("summary", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(summary: Path) -> None:
    """Print the table of SUMMARY."""
    click.echo(markdown(read(summary)))


if __name__ == "__main__":
    main()
