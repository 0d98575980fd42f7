"""`triage pools`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from triage.files.reports import report_json
from triage.files.text import echo
from triage.fleet.pool_sizes import (
    DTYPE_BYTES,
    PoolError,
    Workload,
    best_ratio,
    model_of,
    parse_bytes,
    pools_at,
)

RATIOS = (0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0)


@click.command()
@click.option(
    "--config",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    help="The model's config.json.",
)
@click.option("--mem", required=True, help="Memory for KV of one GPU: 101.9GiB, 109.4GB or bytes.")
@click.option("--input", "input_tokens", default=8192, show_default=True, type=click.IntRange(1))
@click.option("--output", "output_tokens", default=1024, show_default=True, type=click.IntRange(1))
@click.option("--extra", default=4, show_default=True, type=click.IntRange(0), help="Draft tokens.")
@click.option("--page-size", default=64, show_default=True, type=click.IntRange(1))
@click.option("--dtype", default="bf16", show_default=True, type=click.Choice(list(DTYPE_BYTES)))
@click.option("--ratio", "ratios", multiple=True, type=float, help="May be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pools(
    path: Path,
    mem: str,
    input_tokens: int,
    output_tokens: int,
    extra: int,
    page_size: int,
    dtype: str,
    ratios: tuple[float, ...],
    as_json: bool,
) -> None:
    """Work out the full and the SWA pool, the requests that fit, and the best ratio."""
    try:
        model = model_of(json.loads(path.read_text()), dtype)
    except (OSError, ValueError) as error:
        raise PoolError(f"{path} cannot be read as JSON: {error}") from error
    workload = Workload(input_tokens, output_tokens, extra)
    memory = parse_bytes(mem)
    best = best_ratio(model, workload, page_size)
    wanted = sorted({*(ratios or RATIOS), best})
    found = [pools_at(model, memory, ratio, workload, page_size) for ratio in wanted]
    if as_json:
        rows = [dataclasses.asdict(row) for row in found]
        echo(report_json("pools", {"best_ratio": best, "pools": rows}, indent=2))
        return
    echo(
        f"{model.name}: {model.full_layers} full layers of {model.full_bytes:,} bytes a token, "
        f"{model.swa_layers} sliding of {model.swa_bytes:,}, window {model.window}"
    )
    echo(f"{'ratio':>7} {'full tokens':>12} {'SWA tokens':>12} {'requests':>9} {'if kept':>8}")
    for row in found:
        mark = "  <- most requests" if row.ratio == best else ""
        echo(
            f"{row.ratio:7.3f} {row.full_tokens:12,} {row.swa_tokens:12,} {row.requests:9,} "
            f"{row.requests_kept:8,}  {row.limited_by}{mark}"
        )
