"""`triage kernels tune`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from triage.commands.kernels_options import BUDGET, DTYPE, OUTPUT, check_outputs, dtypes_of, prepare
from triage.commands.options import force_option
from triage.commands.progress import progress
from triage.commands.written import json_option
from triage.files.reports import report_json
from triage.files.text import echo, to_json
from triage.files.writing import write_output


@click.command()
@click.option("--rows", type=int, default=8192, show_default=True)
@click.option("--dtype", type=DTYPE, default="bfloat16")
@OUTPUT
@BUDGET
@click.option(
    "--plans",
    "plans_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON: the best tiles, as plans.py holds them.",
)
@force_option
@json_option
def tune(
    rows: int,
    dtype: str,
    output: Path | None,
    budget_seconds: float | None,
    plans_file: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Time every kernel with other tiles than the table holds, and name the best."""
    check_outputs(force, plans_file)
    prepare("cuda")
    import torch
    from triage_kernels.core.records import append_line
    from triage_kernels.perf.tune import Trial, best_plans, trial_count
    from triage_kernels.perf.tune import tune as run

    if not torch.cuda.is_available():
        echo("CANNOT_RUN: no CUDA device", err=True)
        raise SystemExit(3)
    trials: list[Trial] = []
    with progress("tiles", trial_count()) as tell:
        for trial in run(rows, dtypes_of((dtype,))[0], budget_seconds or 120.0):
            trials.append(trial)
            tell(len(trials), now=f"{trial.op} {trial.case}")
            if output:
                append_line(output, trial)
            if plans_file:
                plans = to_json(best_plans(trials), indent=4) + "\n"
                write_output(plans_file, plans.encode(), force=True)  # its own, of the last trial
            if as_json:
                continue
            tile = " ".join(f"{number:5}" for number in trial.tile)
            echo(
                f"{trial.op:34} {trial.case:26} M={trial.rows:<6} {tile} "
                f"{trial.microseconds:9.2f} us {trial.of_copy:6.1%} of copy"
            )
    if as_json:
        told = {"trials": [asdict(trial) for trial in trials], "best": best_plans(trials)}
        echo(report_json("kernels-tune", told))
    else:
        echo(to_json(best_plans(trials), indent=4))
