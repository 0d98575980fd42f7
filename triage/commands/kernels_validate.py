"""`triage kernels validate`."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from triage.commands.kernels_options import (
    BUDGET,
    DEVICE,
    DTYPE,
    JSON,
    OUTPUT,
    check_outputs,
    prepare,
)
from triage.commands.options import force_option
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import write_output


@click.command()
@click.argument("ops", nargs=-1)
@click.option("--provider", type=click.Choice(["ours", "sglang", "all"]), default="ours")
@click.option("--variant", "variants", multiple=True, help="Only cases of this model.")
@click.option("--check", "checks", multiple=True, help="Only this check.")
@click.option("--dtype", "dtypes", multiple=True, type=DTYPE)
@DEVICE
@JSON
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="JUnit XML file.")
@OUTPUT
@BUDGET
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
    check_outputs(force, junit)
    prepare(device)
    from triage_kernels.core.records import append_line, json_lines
    from triage_kernels.validate.providers import PROVIDERS
    from triage_kernels.validate.report import junit as render_junit
    from triage_kernels.validate.report import result_text
    from triage_kernels.validate.results import CheckResult
    from triage_kernels.validate.runner import Request, validate

    earlier = [_check_result(r) for r in json_lines(output)] if output else []
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
    if junit:
        write_output(junit, render_junit(results).encode(), force=force)
        echo(f"wrote {junit}", err=True)
    raise SystemExit(1 if counts["FAIL"] else 0 if counts["PASS"] else 3)


def _check_result(record: dict[str, Any]) -> Any:
    from triage_kernels.validate.results import CheckResult

    return CheckResult(**{**record, "failures": tuple(record["failures"])})
