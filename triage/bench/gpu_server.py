"""`make gpu-server`: cell by cell, releases, modes and axes of a real server; resumed where it was.

Of the cells (`triage/lab/server/cells.py`) those of the installed SGLang are played, by worth, as
far as the budget goes; another release is another bundle and another run into the same folder.
`results.jsonl` there has a JSON line for every part, whatever it came to, and is never rewritten:
how many mixed requests went without an alarm is counted over all of its lines. Each cell's log and
dumps stay in `cells/NAME.tar.xz`. `--store` joins the lines to the repository's record, of which
`docs/results/gpu-server.md` is made.

Exit code 0 when everything was played and held, 1 when something did not hold, 3 when there is no
GPU or SGLang, or another run is needed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from triage.bench.results import CELLS_RECORD, TABLES
from triage.lab.server.cells import CELLS, RELEASES
from triage.lab.server.machine import CannotServe
from triage.lab.server.smoke import archive
from triage.lab.server.smoke.results import Cell, Results
from triage.lab.server.smoke.rig import Rig
from triage.lab.server.smoke.run import FIRST_PORT, Run, Wanted
from triage.lab.server.smoke.summary import summarise

EVIDENCE_BYTES = 1 << 20
"""Of one cell, packed: its log, its dumps, its oracle."""


def joined(record: Path, lines: list[str]) -> int:
    """Add those of `lines` that `record` has not; returns how many."""
    known = set(record.read_text().splitlines()) if record.exists() else set()
    new = [line for line in lines if line and line not in known]
    if new:
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("a") as file:
            file.write("\n".join(new) + "\n")
    return len(new)


def record_of(results: Results, jobs: Path, beside: dict[str, Any]) -> dict[str, Any]:
    """The summary, answers compared with those of the cell without us on the same axis."""
    like = {each.job.name: each.like for each in CELLS if each.like}
    return summarise(results, jobs, like=like, **beside)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gpu-server"))
@click.option("--work", type=click.Path(path_type=Path), help="Servers' folders; in a temp folder.")
@click.option("--budget-s", type=float, default=560.0, show_default=True)
@click.option("--servers", type=click.IntRange(1, 8), default=4, show_default=True)
@click.option("--caches", type=click.Path(path_type=Path), help="Compile caches to start with.")
@click.option("--port", type=int, default=FIRST_PORT, show_default=True, help="Of the first.")
@click.option("--only", multiple=True, help="A cell's name; several allowed.")
@click.option("--retry", is_flag=True, help="Play again what did not hold in an earlier run.")
@click.option("--list", "as_list", is_flag=True, help="Print the cells in order, play nothing.")
@click.option("--store", is_flag=True, help="Join OUT's lines to the stored record; play nothing.")
def main(
    out: Path,
    work: Path | None,
    budget_s: float,
    servers: int,
    caches: Path | None,
    port: int,
    only: tuple[str, ...],
    retry: bool,
    as_list: bool,
    store: bool,
) -> None:
    """Play the cells of the installed SGLang, or what of them is not done yet."""
    if as_list:
        for each in CELLS:
            click.echo(f"{each.job.name}: {each.job.why}; {', '.join(each.job.parts)}")
        return
    if store:
        lines = (out / "results.jsonl").read_text().splitlines()
        click.echo(f"{joined(CELLS_RECORD, lines)} lines joined to {CELLS_RECORD}")
        TABLES["gpu-server"].make(Path.cwd())
        return
    work = work or Path(tempfile.gettempdir()) / "gpu-server"
    wanted = Wanted(out.resolve(), work.resolve(), budget_s, servers, port, only, caches, retry)
    try:
        run = Run(wanted)
    except CannotServe as error:
        click.echo(f"gpu server: {error}", err=True)
        raise SystemExit(3) from error
    release = run.machine["sglang"]
    jobs = [each.job for each in CELLS if each.release == release]
    if not jobs:
        known = ", ".join(RELEASES)
        click.echo(f"gpu server: no cells of SGLang {release}; there are of {known}", err=True)
        raise SystemExit(3)
    if not run.results.done("machine", release):
        run.results.add(Cell("machine", release, True, figures=run.machine))

    def pack(rig: Rig) -> None:
        kept = wanted.out / "cells" / f"{rig.job.name}.tar.xz"
        kept.parent.mkdir(exist_ok=True)
        if rig.folder.exists():
            archive.pack_evidence(rig.folder, kept, EVIDENCE_BYTES)

    raise SystemExit(run.closed(run.play(jobs, record_of, pack)))


if __name__ == "__main__":
    main()
