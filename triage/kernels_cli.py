"""`triage kernels`: resolve, list, validate, aot, bench, tune, mutants; thin over `triage_kernels`.

torch and triton are imported inside the commands: a CPU run needs Triton's interpreter,
which has to be chosen before triton is imported, and `--help` needs neither.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from triage.commands.options import force_option
from triage.commands.resolve import resolve
from triage.files.text import echo, to_json
from triage.files.writing import check_output, write_output

_DEVICE = click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="cpu runs Triton's interpreter.",
)
_OUTPUT = click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append each result to this JSON-lines file as it is made; what it holds is not redone.",
)
_BUDGET = click.option(
    "--budget-seconds", type=float, default=None, help="Stop before starting what would come later."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")


def _check_outputs(force: bool, *paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            check_output(path, force=force)


def _prepare(device: str) -> None:
    from triage_kernels.errors import InterpreterError
    from triage_kernels.interpreter import use_device

    try:
        use_device(device)
    except InterpreterError as error:
        echo(f"CANNOT_RUN: {error}", err=True)
        raise SystemExit(3) from error


def _dtypes(names: tuple[str, ...]) -> tuple[Any, ...]:
    from triage_kernels.validate import DTYPES

    return tuple(DTYPES[name] for name in names)


class _Named(click.Group):
    """A name that no kernel, check, variant or contender has is a usage error."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LookupError as error:
            from triage_kernels.errors import UnknownNameError

            if isinstance(error, UnknownNameError):
                raise click.UsageError(str(error)) from error
            raise


@click.group(cls=_Named)
def kernels() -> None:
    """Fused Gemma-4 kernels: list, validate, compile ahead of time, bench.

    \b
    Exit codes:
      0  everything that ran passed
      1  something failed
      2  usage
      3  nothing could run
    """


@kernels.command("list")
@_DEVICE
@_JSON
def list_(device: str, as_json: bool) -> None:
    """Kernels, their providers and variants, and where the installed SGLang defines them."""
    _prepare(device)
    from triage_kernels.providers import PROVIDERS, Unavailable, locate, resolve
    from triage_kernels.registry import KERNELS

    records: list[dict[str, Any]] = []
    for spec in KERNELS:
        found = {name: resolve(name, spec, device) for name in PROVIDERS}
        place = locate(spec.name)
        records.append(
            {
                "op": spec.name,
                "formula": spec.summary,
                "launches": spec.launches_replaced,
                "variants": sorted({c.variant for c in spec.cases}),
                "cases": [c.name for c in spec.cases],
                "outputs": {o.name: o.rounding for o in spec.outputs},
                "providers": {
                    name: f"CANNOT_RUN: {f.reason}" if isinstance(f, Unavailable) else "ready"
                    for name, f in found.items()
                },
                "sglang": place.reason
                if isinstance(place, Unavailable)
                else f"{place.relative} ({place.version})",
            }
        )
    if as_json:
        echo(to_json(records, indent=2))
        return
    for record in records:
        echo(f"{record['op']}  {record['formula']}")
        echo(f"    launches {record['launches']}; variants {', '.join(record['variants'])}")
        for name, state in record["providers"].items():
            echo(f"    {name:7} {state}")
        echo(f"    sglang defines it in: {record['sglang']}")


@kernels.command()
@click.argument("ops", nargs=-1)
@click.option("--provider", type=click.Choice(["ours", "sglang", "all"]), default="ours")
@click.option("--variant", "variants", multiple=True, help="Only cases of this model.")
@click.option("--check", "checks", multiple=True, help="Only this check.")
@click.option(
    "--dtype", "dtypes", multiple=True, type=click.Choice(["float16", "bfloat16", "float32"])
)
@_DEVICE
@_JSON
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="JUnit XML file.")
@_OUTPUT
@_BUDGET
@click.option("--details", is_flag=True, help="Print every failing finding and how to repeat it.")
@force_option
def validate(
    ops: tuple[str, ...],
    provider: str,
    variants: tuple[str, ...],
    checks: tuple[str, ...],
    dtypes: tuple[str, ...],
    device: str,
    as_json: bool,
    junit: Path | None,
    output: Path | None,
    budget_seconds: float | None,
    details: bool,
    force: bool,
) -> None:
    """Hold kernels to the fp64 oracle, the eager twin and their contract."""
    _check_outputs(force, junit)
    _prepare(device)
    from triage_kernels import report
    from triage_kernels.providers import PROVIDERS
    from triage_kernels.validate import CheckResult, Request, validate

    earlier = [_check_result(r) for r in report.json_lines(output)] if output else []
    request = Request(
        ops=ops,
        providers=PROVIDERS if provider == "all" else (provider,),
        variants=variants,
        device=device,
        dtypes=dtypes,
        checks=checks,
    )
    results: list[CheckResult] = list(earlier)
    started = time.monotonic()
    for result in validate(request, done=frozenset(r.key for r in earlier)):
        results.append(result)
        if output:
            report.append_line(output, result)
        if not as_json:
            echo(report.result_text(result, details))
        if budget_seconds and time.monotonic() - started > budget_seconds:
            echo(f"stopped after {budget_seconds:.0f} s", err=True)
            break
    counts = {
        outcome: sum(r.outcome == outcome for r in results)
        for outcome in ("PASS", "FAIL", "SKIP", "CANNOT_RUN")
    }
    seconds = time.monotonic() - started
    if as_json:
        records = [asdict(r) for r in results]
        echo(to_json({"counts": counts, "seconds": seconds, "results": records}, indent=1))
    else:
        tally = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        echo(f"{tally or 'nothing to run'} in {seconds:.0f} s")
    if junit:
        write_output(junit, report.junit(results).encode(), force=force)
        echo(f"wrote {junit}", err=True)
    raise SystemExit(1 if counts["FAIL"] else 0 if counts["PASS"] else 3)


def _check_result(record: dict[str, Any]) -> Any:
    from triage_kernels.validate import CheckResult

    return CheckResult(**{**record, "failures": tuple(record["failures"])})


@kernels.command()
@click.argument("ops", nargs=-1)
@click.option("--arch", "archs", multiple=True, type=int, help="90, 100, 103 or 120; all of them.")
@click.option(
    "--dtype", "dtypes", multiple=True, type=click.Choice(["float16", "bfloat16", "float32"])
)
@click.option("--provider", type=click.Choice(["ours", "sglang"]), default="ours")
@click.option(
    "--floats",
    type=click.Choice(["fp32", "fp64"]),
    default="fp32",
    help="Type of runtime floats: fp64 is what a launch made by Inductor passes.",
)
@_JSON
def aot(
    ops: tuple[str, ...],
    archs: tuple[int, ...],
    dtypes: tuple[str, ...],
    provider: str,
    floats: str,
    as_json: bool,
) -> None:
    """Compile for sm_90, sm_100, sm_103 and sm_120 without a GPU; refuse fp64 and spills."""
    _prepare("cuda")
    from triage_kernels import report
    from triage_kernels.aot import ARCHITECTURES, compile_all

    wanted = _dtypes(dtypes or ("bfloat16",))
    results = []
    for compiled in compile_all(ops, archs or ARCHITECTURES, wanted, provider, floats):
        results.append(compiled)
        if not as_json:
            echo(report.compiled_text(compiled))
    dirty = sum(not c.clean for c in results)
    if as_json:
        echo(to_json([asdict(c) for c in results], indent=1))
    else:
        echo(f"{len(results)} compiled, {dirty} with fp64, spills or local memory")
    raise SystemExit(1 if dirty else 0 if results else 3)


@kernels.command()
@click.argument("ops", nargs=-1)
@click.option("--variant", "variants", multiple=True)
@click.option("--rows", "rows", multiple=True, type=int, help="Row counts, in this order.")
@click.option("--contender", "contenders", multiple=True)
@click.option("--dtype", type=click.Choice(["float16", "bfloat16", "float32"]), default="bfloat16")
@click.option("--every-case", is_flag=True, help="All variants, not the first of the list.")
@_OUTPUT
@_BUDGET
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="PNG file.")
@click.option("--table", type=click.Path(dir_okay=False, path_type=Path), help="Markdown file.")
@force_option
@_JSON
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
    _check_outputs(force, plot, table)
    _prepare("cuda")
    import torch
    from triage_kernels import report
    from triage_kernels.bench import CONTENDERS, ROWS, Measurement, Plan
    from triage_kernels.bench import bench as run

    plan = Plan(
        ops=ops,
        variants=variants,
        rows=rows or ROWS,
        contenders=contenders or CONTENDERS,
        dtype=_dtypes((dtype,))[0],
        budget_seconds=budget_seconds or 600.0,
        every_case=every_case,
    )
    plan.require_known()
    if not torch.cuda.is_available():
        echo("CANNOT_RUN: no CUDA device", err=True)
        raise SystemExit(3)
    earlier = [Measurement(**r) for r in report.json_lines(output)] if output else []
    measured = list(earlier)
    for measurement in run(plan, frozenset(m.key for m in earlier)):
        if not as_json and measured and measured[-1].key[:3] != measurement.key[:3]:
            echo(report.shape_text(report.latest_shape(measured)))
        measured.append(measurement)
        if output:
            report.append_line(output, measurement)
        if not as_json:
            echo(report.bench_text(measurement))
    if measured and not as_json:
        echo(report.shape_text(report.latest_shape(measured)))
    if as_json:
        echo(to_json([asdict(m) for m in measured], indent=1))
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


@kernels.command()
@click.option("--rows", type=int, default=8192, show_default=True)
@click.option("--dtype", type=click.Choice(["float16", "bfloat16", "float32"]), default="bfloat16")
@_OUTPUT
@_BUDGET
@click.option(
    "--plans",
    "plans_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON: the best tiles, as plans.py holds them.",
)
@force_option
def tune(
    rows: int,
    dtype: str,
    output: Path | None,
    budget_seconds: float | None,
    plans_file: Path | None,
    force: bool,
) -> None:
    """Time every kernel with other tiles than the table holds, and name the best."""
    _check_outputs(force, plans_file)
    _prepare("cuda")
    import torch
    from triage_kernels import report
    from triage_kernels.tune import best_plans
    from triage_kernels.tune import tune as run

    if not torch.cuda.is_available():
        echo("CANNOT_RUN: no CUDA device", err=True)
        raise SystemExit(3)
    trials = []
    for trial in run(rows, _dtypes((dtype,))[0], budget_seconds or 120.0):
        trials.append(trial)
        if output:
            report.append_line(output, trial)
        if plans_file:
            plans = to_json(best_plans(trials), indent=4) + "\n"
            write_output(plans_file, plans.encode(), force=True)  # its own, from the last trial
        tile = " ".join(f"{number:5}" for number in trial.tile)
        echo(
            f"{trial.op:34} {trial.case:26} M={trial.rows:<6} {tile} "
            f"{trial.microseconds:9.2f} us {trial.of_copy:6.1%} of copy"
        )
    echo(to_json(best_plans(trials), indent=4))


@kernels.command()
@click.argument("names", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Name the planted defects, run nothing.")
@click.option(
    "--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the matrix."
)
@force_option
@_JSON
def mutants(
    names: tuple[str, ...], only_list: bool, markdown: Path | None, force: bool, as_json: bool
) -> None:
    """Plant defects in copies of the kernels and see which checks catch each (CPU)."""
    _check_outputs(force, markdown)
    _prepare("cpu")
    from triage_kernels.defects import DEFECTS
    from triage_kernels.mutants import detect_all, matrix

    if only_list:
        for mutant in DEFECTS:
            echo(f"{mutant.name:26} {mutant.op:34} {mutant.what}")
        return
    detections = []
    for detection in detect_all(names):
        detections.append(detection)
        if not as_json:
            state = "caught" if detection.caught_by else "MISSED"
            by = ", ".join(detection.caught_by)
            echo(
                f"{state} {detection.mutant:26} {detection.op:34} upstream: "
                f"{detection.upstream:8} {by}"
            )
    if as_json:
        echo(to_json([asdict(d) for d in detections], indent=1))
    if markdown:
        write_output(markdown, matrix(detections).encode(), force=force)
        echo(f"wrote {markdown}", err=True)
    missed = sum(not d.caught_by for d in detections)
    if not as_json:
        echo(f"{len(detections) - missed} of {len(detections)} caught")
    raise SystemExit(1 if missed else 0)


kernels.add_command(resolve)
