"""Dependent launches on a GPU: what each fused op gains by overlapping the launch in front.

    python -m triage.bench.dependent_launch --out overlap.jsonl --budget-s 80
    python -m triage.bench.dependent_launch --out overlap.jsonl --table

Needs a GPU of sm_90 or later, no SGLang. Each measurement is a line of JSON the moment it is
made; run again to go on where a run ended. What is measured: `triage_kernels.perf.overlap`.

Exit code: 0 all measured, 2 usage, 3 not all measured yet, or nothing can be measured here.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("ops", nargs=-1)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--rows", multiple=True, type=click.IntRange(min=1), help="1, 8, 32 and 64.")
@click.option("--chain", "chains", multiple=True, help="alone, gemm, own-gemm; all of them.")
@click.option("--variant", "variants", multiple=True, help="Models; the largest that has an op.")
@click.option("--budget-s", type=float, default=80.0, show_default=True)
@click.option("--table", is_flag=True, help="Print the table of --out, measure nothing.")
def main(
    ops: tuple[str, ...],
    out: Path,
    rows: tuple[int, ...],
    chains: tuple[str, ...],
    variants: tuple[str, ...],
    budget_s: float,
    table: bool,
) -> None:
    """Measure OPS, all by default, until the budget is spent."""
    from triage_kernels.core.interpreter import use_device

    use_device("cuda")
    from triage_kernels.core.records import append_line, json_lines
    from triage_kernels.perf import overlap

    kept = [_read(plain) for plain in json_lines(out)]
    if table:
        click.echo(overlap.markdown(kept))
        return
    if reason := _why_not(chains, overlap.CHAINS):
        click.echo(f"CANNOT_RUN: {reason}", err=True)
        raise SystemExit(3)
    import torch
    from triage_kernels.perf.bench import BenchPlan, bench_cases
    from triage_kernels.validate.registry import OURS, select
    from triage_kernels.validate.results import CRASHES

    began, slowest, done = time.monotonic(), 0.0, {one.key for one in kept}
    select(ops)
    plan = BenchPlan(variants=variants)
    wanted = [
        (spec, case, count, chain)
        for count in rows or overlap.ROWS
        for chain in chains or overlap.CHAINS
        for spec in OURS
        if not ops or spec.name in ops
        for case in bench_cases(spec, plan)[: None if variants else 1]
    ]
    for number, (spec, case, count, chain) in enumerate(wanted, start=1):
        if (spec.name, case.name, count, chain) in done:
            continue
        start = time.monotonic()
        if start - began + slowest > budget_s:
            click.echo(f"budget spent after {number - 1} of {len(wanted)}; run again to go on")
            raise SystemExit(3)
        try:
            found = overlap.measure(spec, case, count, chain, torch.bfloat16)
        except CRASHES as error:
            click.echo(
                f"{spec.name} {case.name} M={count} {chain}: {type(error).__name__}: {error}"
            )
            continue
        append_line(out, found)
        slowest = max(slowest, time.monotonic() - start)
        click.echo(
            f"[{time.monotonic() - began:3.0f} s, {number}/{len(wanted)}] {overlap.text(found)}"
        )


def _read(plain: dict[str, Any]) -> Any:
    from triage_kernels.perf.overlap import Overlap

    ratios = ("ratio", "to_floor", "dependent_to_floor")
    return Overlap(**{**plain, **{name: tuple(plain[name]) for name in ratios}})


def _why_not(chains: tuple[str, ...], known: tuple[str, ...]) -> str:
    from triage_kernels.core.dependent import why_not

    for chain in chains:
        if chain not in known:
            raise click.BadParameter(f"no chain {chain!r}; known: {', '.join(known)}")
    return why_not()


if __name__ == "__main__":
    main()
