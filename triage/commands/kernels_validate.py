"""`triage kernels validate`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from triage.commands.completion import kernel_checks, kernels, names, variants
from triage.commands.engine_options import engine_options
from triage.commands.kernels_options import (
    ALSO,
    BUDGET,
    DEVICE,
    DTYPE,
    JSON,
    OUTPUT,
    check_outputs,
    loaded,
    prepare,
)
from triage.commands.options import force_option
from triage.commands.progress import progress
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import write_output


@click.command()
@click.argument("ops", nargs=-1, shell_complete=names(kernels))
@click.option("--provider", type=click.Choice(["ours", "sglang", "all"]), default="ours")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    shell_complete=names(variants),
    help="Only cases of this model.",
)
@click.option(
    "--check", "checks", multiple=True, shell_complete=names(kernel_checks), help="Only this check."
)
@click.option("--dtype", "dtypes", multiple=True, type=DTYPE)
@DEVICE
@JSON
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="JUnit XML file.")
@OUTPUT
@BUDGET
@click.option("--details", is_flag=True, help="Print every failing finding and how to repeat it.")
@click.option("--callable", "target", metavar="PKG:FUNC", help="Hold this function to --like.")
@click.option(
    "--like",
    metavar="OP",
    shell_complete=names(kernels),
    help="The op whose checks --callable is held to.",
)
@click.option("--map", "names", multiple=True, metavar="OURS=THEIRS", help="Names that differ.")
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one page on the result, in Markdown.",
)
@ALSO
@engine_options
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
    target: str | None,
    like: str | None,
    names: tuple[str, ...],
    report_file: Path | None,
    also: tuple[Path, ...],
    engine: str,
    workers: int | None,
    force: bool,
) -> None:
    """Hold kernels to the fp64 oracle, the eager twin and their contract.

    \b
    Anybody's kernel, held to one of our ops:
      triage kernels validate --callable PKG.MODULE:FUNC --like gemma_rmsnorm_add
    """
    if (target is None) != (like is None) or (names and not target):
        raise click.UsageError("--callable and --like come together; --map needs both")
    check_outputs(force, junit, report_file)
    if engine == "local":  # what Ray's workers hold needs nothing of this process
        prepare(device)
    from triage_kernels.core.records import append_line, json_lines
    from triage_kernels.validate.checks import ALL
    from triage_kernels.validate.providers import PROVIDERS
    from triage_kernels.validate.registry import select
    from triage_kernels.validate.report import junit as render_junit
    from triage_kernels.validate.report import page, result_text
    from triage_kernels.validate.results import CheckResult
    from triage_kernels.validate.runner import DEFAULT_DTYPES, Request, validate

    earlier = [_check_result(r) for r in json_lines(output)] if output else []
    request = Request(
        ops=(like,) if like else ops,
        providers=(target,) if target else PROVIDERS if provider == "all" else (provider,),
        variants=variants,
        device=device,
        dtypes=dtypes,
        checks=checks,
        also=loaded(also),
        workers=workers or 0,
        call=_foreign(target, like, names, also) if target and like else None,
    )
    done = frozenset(r.key for r in earlier)
    made: Iterable[CheckResult]
    if engine == "ray":
        if target:
            raise click.UsageError("--callable is held in this process: leave --engine out")
        made = _over_ray(request, workers, also, done)
    else:
        made = validate(request, done=done)
    results: list[CheckResult] = list(earlier)
    started = time.monotonic()
    subjects = len(select(request.ops, request.also)) * len(request.providers)
    total = subjects * len(checks or ALL) * len(dtypes or DEFAULT_DTYPES[device])
    with progress("checks", total) as tell:
        for result in made:
            results.append(result)
            tell(len(results), now=result.op)
            if output:
                append_line(output, result)
            if not as_json:
                echo(result_text(result, details))
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
        echo(
            report_json(
                "kernels-validate",
                {"counts": counts, "seconds": seconds, "results": records},
                indent=1,
            )
        )
    else:
        tally = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        echo(f"{tally or 'nothing to run'} in {seconds:.0f} s")
    if report_file:
        title = target or ", ".join(dict.fromkeys(r.op for r in results))
        text = page(title, like or "its own op", results)
        write_output(report_file, text.encode(), force=force)
        echo(f"wrote {report_file}", err=True)
    if junit:
        write_output(junit, render_junit(results).encode(), force=force)
        echo(f"wrote {junit}", err=True)
    raise SystemExit(1 if counts["FAIL"] else 0 if counts["PASS"] else 3)


def _over_ray(
    request: Any, workers: int | None, also: tuple[Path, ...], done: frozenset[Any]
) -> Iterator[Any]:
    """The results of each op and provider, made by a process of one of Ray's workers."""
    from triage_kernels.validate.registry import select

    from triage.engines import engine as engine_of
    from triage.lab.jobs import Command, answer, run_triage

    shared = ["--json", "--device", request.device]
    for option, values in (
        ("--variant", request.variants),
        ("--check", request.checks),
        ("--dtype", request.dtypes),
        ("--also", also),
    ):
        shared += [word for value in values for word in (option, str(value))]
    ops = [spec.name for spec in select(request.ops, request.also)]
    provided = [
        Command(("kernels", "validate", op, "--provider", provider, "--workers", "1", *shared))
        for op in ops
        for provider in request.providers
    ]
    with closing(engine_of("ray", workers, gpus=float(request.device == "cuda"))) as spread:
        for command, ended in spread.map(run_triage, provided):
            for record in answer(command, ended, (0, 1, 3))["results"]:
                result = _check_result(record)
                if result.key not in done:
                    yield result


def _foreign(target: str, like: str, names: tuple[str, ...], also: tuple[Path, ...]) -> Any:
    from triage_kernels.core.errors import KernelError
    from triage_kernels.validate.foreign import foreign
    from triage_kernels.validate.registry import select

    pairs = dict(pair.split("=", 1) for pair in names if "=" in pair)
    if len(pairs) != len(names):
        raise click.UsageError("--map takes OURS=THEIRS")
    (spec,) = select((like,), loaded(also))
    try:
        return target, foreign(target, spec, pairs)
    except KernelError as error:
        raise click.UsageError(str(error)) from error


def _check_result(record: dict[str, Any]) -> Any:
    from triage_kernels.validate.results import CheckResult

    return CheckResult(**{**record, "failures": tuple(record["failures"])})
