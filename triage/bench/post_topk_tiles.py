"""The kernel behind a top-k at few rows: other tiles, beside torch.compile and equal steps.

    python -m triage.bench.post_topk_tiles --out tiles.jsonl

Chains of 200 launches in a graph, in turn, on one GPU; ratios to the tile in use are of one
round each. `steps` copies as many bytes with as many reductions and nothing else, `one-trip`
the same without a reduction. A minute; each number of rows is kept as a line of JSON the moment
it is measured.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

ROWS = (1, 8, 32, 64)
TILES = ((16, 4, 0), (16, 1, 0), (4, 1, 0), (1, 1, 0), (4, 1, 1024), (1, 1, 1024), (4, 4, 1024))
"""(rows, warps, experts up to which all scales are read); the first is the one in use."""


@contextmanager
def tiled(tile: tuple[int, int, int]) -> Iterator[None]:
    from triage_kernels.ops import routing_post_topk as op

    before, op.TILE = op.TILE, op.Tile(*tile)
    try:
        yield
    finally:
        op.TILE = before


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--rounds", type=click.IntRange(min=3), default=40, show_default=True)
def main(out: Path, rounds: int) -> None:
    """Time every tile at every number of rows. Exit code 3 where there is no GPU."""
    from triage_kernels.core.interpreter import use_device

    use_device("cuda")
    import torch

    if not torch.cuda.is_available():
        click.echo("CANNOT_RUN: no CUDA device", err=True)
        raise SystemExit(3)
    known = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    for rows in ROWS:
        if rows in {one["rows"] for one in known}:
            continue
        found = measure(rows, rounds)
        with out.open("a") as lines:
            lines.write(json.dumps(found) + "\n")
        for name, (us, ratio, low, high) in found["us"].items():
            click.echo(
                f"M={rows:<3} {name:18} {us:6.3f} us  x {ratio:.3f} ({low:.3f} to {high:.3f})"
            )


def measure(rows: int, rounds: int) -> dict[str, Any]:
    """Name -> (microseconds, ratio to the tile in use, its 20th and 80th percentile)."""
    import torch
    from triage_kernels.ops.routing_post_topk import SPEC
    from triage_kernels.perf.contenders import chain_call, contender_calls, inputs
    from triage_kernels.perf.overlap import machine
    from triage_kernels.perf.timing import Call, capture, replays
    from triage_kernels.validate.providers import Unavailable

    case = SPEC.cases[0]
    sets = inputs(SPEC, case, rows, torch.bfloat16, 8)
    bytes_moved = SPEC.traffic(case.dims, rows, 2).fused
    assert SPEC.fused is not None
    graphs: dict[str, torch.cuda.CUDAGraph] = {}
    for tile in TILES:
        with tiled(tile):
            rows_, warps, scales = tile
            name = f"{rows_} rows, {warps} warps" + (", all scales" if scales else "")
            graphs[name] = capture([partial(SPEC.fused, **args) for args in sets])
    first = next(iter(graphs))
    more: dict[str, list[Call]] = {
        "steps": [chain_call(bytes_moved, rows, SPEC.reductions) for _ in sets],
        "one-trip": [chain_call(bytes_moved, rows, 0) for _ in sets],
    }
    compiled = contender_calls("compile", SPEC, sets, bytes_moved, rows)
    if not isinstance(compiled, Unavailable):
        more["compile"] = compiled[0]
    graphs |= {name: capture(calls) for name, calls in more.items()}
    timed = replays(graphs, rounds)
    found = {}
    for name, samples in timed.items():
        ratios = sorted(a / b for a, b in zip(samples, timed[first], strict=True))
        low, high = ratios[len(ratios) // 5], ratios[4 * len(ratios) // 5]
        shown = (statistics.median(samples), statistics.median(ratios), low, high)
        found[name] = [round(value, 4) for value in shown]
    return {"rows": rows, "machine": machine(), "us": found}


if __name__ == "__main__":
    main()
