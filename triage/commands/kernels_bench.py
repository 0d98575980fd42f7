"""`triage kernels bench`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from triage.commands.completion import contenders, kernels, names, variants
from triage.commands.kernels_options import (
    BUDGET,
    DTYPE,
    JSON,
    OUTPUT,
    check_outputs,
    dtypes_of,
    prepare,
)
from triage.commands.options import force_option
from triage.commands.progress import progress
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import write_output


@click.command()
@click.argument("ops", nargs=-1, shell_complete=names(kernels))
@click.option("--variant", "variants", multiple=True, shell_complete=names(variants))
@click.option("--rows", "rows", multiple=True, type=int, help="Row counts, in this order.")
@click.option("--contender", "contenders", multiple=True, shell_complete=names(contenders))
@click.option("--dtype", type=DTYPE, default="bfloat16")
@click.option("--every-case", is_flag=True, help="All variants, not the first of the list.")
@OUTPUT
@BUDGET
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="PNG file.")
@click.option("--table", type=click.Path(dir_okay=False, path_type=Path), help="Markdown file.")
@force_option
@JSON
def bench(
    ops: tuple[str, ...],
    variants: tuple[str, ...],
    rows: tuple[int, ...],
    contenders: tuple[str, ...],
    dtype: str,
    every_case: bool,
    output: Path | None,
    budget_seconds: float | None,
    plot: Path | None,
    table: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Time kernels on this GPU: bandwidth from 1024 rows on, latency up to 64."""
    check_outputs(force, plot, table)
    prepare("cuda")
    import torch
    from triage_kernels.core.records import append_line, json_lines
    from triage_kernels.perf import report
    from triage_kernels.perf.bench import (
        CONTENDERS,
        ROWS,
        BenchPlan,
        Measurement,
        measurement_count,
    )
    from triage_kernels.perf.bench import bench as run

    plan = BenchPlan(
        ops=ops,
        variants=variants,
        rows=rows or ROWS,
        contenders=contenders or CONTENDERS,
        dtype=dtypes_of((dtype,))[0],
        budget_seconds=budget_seconds or 600.0,
        every_case=every_case,
    )
    plan.require_known()
    if not torch.cuda.is_available():
        echo("CANNOT_RUN: no CUDA device", err=True)
        raise SystemExit(3)
    earlier = [Measurement(**r) for r in json_lines(output)] if output else []
    measured = list(earlier)
    with progress("measurements", measurement_count(plan)) as tell:
        for measurement in run(plan, frozenset(m.key for m in earlier)):
            if not as_json and measured and measured[-1].key[:3] != measurement.key[:3]:
                echo(report.shape_text(report.latest_shape(measured)))
            measured.append(measurement)
            tell(len(measured), now=f"{measurement.op}, {measurement.rows} rows")
            if output:
                append_line(output, measurement)
            if not as_json:
                echo(report.bench_text(measurement))
    if measured and not as_json:
        echo(report.shape_text(report.latest_shape(measured)))
    if as_json:
        echo(report_json("kernels-bench", [asdict(m) for m in measured], indent=1))
    if table:
        write_output(table, report.bench_markdown(measured).encode(), force=force)
        echo(f"wrote {table}", err=True)
    if plot:
        try:
            report.bench_plot(measured, plot)
        except ImportError as error:
            echo(f"no plot: {error}", err=True)
        else:
            echo(f"wrote {plot}", err=True)
    raise SystemExit(0 if measured else 3)
