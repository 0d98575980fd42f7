"""`make gpu-smoke`: real servers on a real GPU, in under ten minutes; `make b200` is the same.

Every cell is kept the moment it is known (`results.jsonl` in the output folder), a later run
goes on from there, and what fails leaves its reason and does not stop the others. At the end
there are `summary.json`, `evidence.tar.xz` (logs, dumps, oracle, address maps) and, to make
the next run's servers start faster, `caches.tar.xz`.

Exit code 0 when everything was played and held, 1 when something did not hold, 3 when there
is no GPU or SGLang, or another run is needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from triage.lab.server.machine import CannotServe
from triage.lab.server.smoke.jobs import JOBS
from triage.lab.server.smoke.results import Cell, Results
from triage.lab.server.smoke.run import FIRST_PORT, Run, Wanted
from triage.lab.server.smoke.summary import summarise

DOCTOR_S = {"with SGLang": 8.0, "without SGLang": 3.0}


def ask_doctor(results: Results, product: Sequence[Path]) -> None:
    """How long `triage doctor` takes, with and without SGLang on the path.

    product: folders in which SGLang finds our entry point, as the servers get them.
    The first call reads everything from a disk that may be cold; the second is judged.
    """
    parts = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    without = [part for part in parts if not (Path(part) / "sglang").is_dir()]
    for name, paths in (("with SGLang", parts), ("without SGLang", without)):
        if results.done("doctor", name):
            continue
        path = os.pathsep.join([*map(str, product), *paths])
        environment = {**os.environ, "PYTHONPATH": path}
        first, _, _ = timed(["-m", "triage", "doctor"], environment)
        seconds, code, said = timed(["-m", "triage", "doctor"], environment)
        lines = said.splitlines()
        held = code >= 0 and seconds <= DOCTOR_S[name] and 0 < len(lines) <= 40
        why = "" if held else f"exit {code}, {seconds} s, {len(lines)} lines; {said[-1500:]}"
        figures = {"seconds": seconds, "first_seconds": first, "exit": code, "lines": lines[:45]}
        results.add(Cell("doctor", name, held, why, first + seconds, figures))


def timed(arguments: list[str], environment: dict[str, str]) -> tuple[float, int, str]:
    """Seconds, exit code (-1: cut off after 60 s) and what a call of this Python printed."""
    began, code = time.monotonic(), -1
    try:
        ended = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        code, said = ended.returncode, ended.stdout or ended.stderr
    except subprocess.TimeoutExpired:
        said = "took more than 60 s"
    return round(time.monotonic() - began, 2), code, said


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/gpu-smoke"))
@click.option("--work", type=click.Path(path_type=Path), help="Servers' folders; in a temp folder.")
@click.option("--budget-s", type=float, default=560.0, show_default=True)
@click.option("--servers", type=click.IntRange(1, 8), default=4, show_default=True)
@click.option("--caches", type=click.Path(path_type=Path), help="Compile caches to start with.")
@click.option("--port", type=int, default=FIRST_PORT, show_default=True, help="Of the first.")
@click.option("--only", multiple=True, help="A job's name; several allowed.")
@click.option("--retry", is_flag=True, help="Play again what did not hold in an earlier run.")
@click.option("--all-in-one", is_flag=True, help="One archive of everything, to send back.")
def main(
    out: Path,
    work: Path | None,
    budget_s: float,
    servers: int,
    caches: Path | None,
    port: int,
    only: tuple[str, ...],
    retry: bool,
    all_in_one: bool,
) -> None:
    """Play the smoke of this GPU, or what of it is not done yet."""
    work = work or Path(tempfile.gettempdir()) / "gpu-smoke"
    wanted = Wanted(out.resolve(), work.resolve(), budget_s, servers, port, only, caches, retry)
    try:
        run = Run(wanted)
    except CannotServe as error:
        click.echo(f"gpu smoke: {error}", err=True)
        raise SystemExit(3) from error
    if not only or "doctor" in only:
        ask_doctor(run.results, run.product)
    record = run.play(JOBS, lambda results, jobs, beside: summarise(results, jobs, **beside))
    if all_in_one:
        bundle = wanted.out.with_suffix(".tar")
        folder = wanted.out
        packing = ["tar", "cf", str(bundle), "-C", str(folder.parent), folder.name]
        subprocess.run(packing, check=True)
        run.tell(f"to send back: {bundle}")
    raise SystemExit(run.closed(record))


if __name__ == "__main__":
    main()
