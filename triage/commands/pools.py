"""`triage pools`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

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
@click.option("--mem", help="Memory for KV of one GPU: 101.9GiB, 109.4GB or bytes.")
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="A server's log: compare its pools with what is worked out. Exit code 1: they differ.",
)
@click.option("--input", "input_tokens", default=8192, show_default=True, type=click.IntRange(1))
@click.option("--output", "output_tokens", default=1024, show_default=True, type=click.IntRange(1))
@click.option("--extra", default=4, show_default=True, type=click.IntRange(0), help="Draft tokens.")
@click.option("--page-size", default=64, show_default=True, type=click.IntRange(1))
@click.option("--dtype", default="bf16", show_default=True, type=click.Choice(list(DTYPE_BYTES)))
@click.option("--ratio", "ratios", multiple=True, type=float, help="May be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pools(
    path: Path,
    mem: str | None,
    log: Path | None,
    input_tokens: int,
    output_tokens: int,
    extra: int,
    page_size: int,
    dtype: str,
    ratios: tuple[float, ...],
    as_json: bool,
) -> None:
    """Work out the full and the SWA pool, the requests that fit, and the best ratio."""
    if (mem is None) is (log is None):
        raise click.UsageError("give --mem, the memory for KV, or --log, a server's log")
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PoolError(f"{path} cannot be read as JSON: {error}") from error
    if log is not None:
        raise SystemExit(_compared(config, log, as_json))
    assert mem is not None  # one of the two is there
    model = model_of(config, dtype)
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


def _compared(config: dict[str, Any], path: Path, as_json: bool) -> int:
    """Print the comparison with the log at `path`; 1 where something differs, else 0."""
    from triage.fleet import pool_log

    try:
        logged = pool_log.read(path.read_text(errors="replace"))
    except OSError as error:
        raise PoolError(f"{path} cannot be read: {error}") from error
    model = model_of(config, logged.dtype)
    found = pool_log.compare(logged, model)
    if as_json:
        echo(report_json("pools-log", {"model": model.name, **pool_log.report(found)}, indent=2))
        return 0 if found.equal else 1
    echo(f"{model.name}: ratio {logged.ratio}, pages of {logged.page_size}, {logged.gib} GiB")
    echo(f"{'':12} {'the log says':>14} {'worked out':>24}")
    expected = (
        f"{found.least:,} to {found.most:,}" if found.least != found.most else f"{found.most:,}"
    )
    echo(f"{'full tokens':12} {logged.full:14,} {expected:>24}")
    echo(f"{'SWA tokens':12} {logged.swa:14,} {found.swa:>24,}")
    echo(f"{'full GiB':12} {logged.full_gib:14.2f} {found.full_gib:24.3f}")
    echo(f"{'SWA GiB':12} {logged.swa_gib:14.2f} {found.swa_gib:24.3f}")
    for sentence in found.differ:
        echo(f"differs: {sentence}")
    echo("equal, as far as the log prints sizes" if found.equal else "not equal")
    return 0 if found.equal else 1
