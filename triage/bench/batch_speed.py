"""What a batch costs: E4B-size dumps of eight injected causes, over processes and over Ray.

    python -m triage.bench.batch_speed [--dumps N] [--ray-dumps N] [--json FILE]

A machine that others use says little by the clock, so the processor time of the workers is
measured beside it, and the load is told.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from triage.batch.results import read_table, rows_as_dicts
from triage.bench.batch_cost import Cost, measured
from triage.bench.batch_dumps import CAUSES, dumps
from triage.bench.figure import Figure, at_most, skipped
from triage.dump.file import read_dump
from triage.engines import IN_FLIGHT, Engine, Lost, Result, Task, engine

DUMPS, RAY_DUMPS, WORKERS = 10_000, 2_000, 2
RATE, MEMORY_MB, RAY_GAIN, GROWTH = 400.0, 1000.0, 1.5, 1.1
MILLION, FLEET = 1_000_000, 64


def figures(path: Path, count: int = DUMPS, over_ray: int = RAY_DUMPS) -> list[Figure]:
    """Of `count` dumps made of the one at `path`."""
    with tempfile.TemporaryDirectory(prefix="triage-batch-") as scratch:
        folder = Path(scratch) / "dumps"
        injected = _made(path, folder, count)
        cost = measured(folder, Path(scratch) / "local.parquet", lambda: engine("local", WORKERS))
        found = _local(cost, Path(scratch) / "local.parquet", injected)
        over, collecting_ms = _over_ray(folder, Path(scratch), min(over_ray, count))
        each_ms = 1e3 * cost.workers_cpu_s / count
        return [*found, *over, _model(each_ms, collecting_ms or 1e3 * cost.driver_cpu_s / count)]


def _made(path: Path, folder: Path, count: int) -> dict[str, str]:
    """File name -> the defect that it was made with."""
    folder.mkdir()
    injected = {}
    for number, (defect, content) in enumerate(dumps(read_dump(path), count)):
        name = f"{number:06d}.msgpack"
        (folder / name).write_bytes(content)
        injected[name] = defect
    return injected


def _local(cost: Cost, out: Path, injected: dict[str, str]) -> list[Figure]:
    each_ms = 1e3 * cost.workers_cpu_s / len(injected)
    by_cpu, by_clock = WORKERS / each_ms * 1e3, len(injected) / cost.wall_s
    at = f"load {cost.load:.1f} on {os.cpu_count()} processors"
    clusters = cost.batch.overview.clusters
    wrong = _merged_wrongly(out, injected)
    return [
        Figure(
            f"batch, {len(injected)} E4B dumps, two processes, by processor time",
            by_cpu,
            "1/s",
            f">= {RATE:g} 1/s",
            by_cpu >= RATE,
            f"{each_ms:.2f} ms a dump; by the clock {by_clock:.0f} a second at {at}",
        ),
        at_most("batch, memory of all processes", cost.most_mb, MEMORY_MB, "MB"),
        at_most(
            "batch, memory while dumps are read, at its most against that at a third of them",
            cost.reading_mb / max(cost.third_mb, 1.0),
            GROWTH,
            "x",
            f"{cost.third_mb:.0f} and {cost.reading_mb:.0f} MB",
        ),
        Figure(
            "batch, clusters of eight injected causes",
            float(len(clusters)),
            "",
            "8, 0 wrong",
            len(clusters) == len(CAUSES) and not wrong,
            f"{wrong} dumps in a cluster of another cause",
        ),
    ]


def _model(each_ms: float, collecting_ms: float) -> Figure:
    """How long a million dumps take, from what one costs a worker and the collector."""
    seconds = MILLION * max(each_ms / FLEET, collecting_ms) / 1e3
    bound = "the workers" if each_ms / FLEET > collecting_ms else "the one process that collects"
    return Figure(
        f"batch, model: {MILLION:,} dumps on {FLEET} workers",
        seconds / 60,
        "min",
        beside=f"a model, not a run: {each_ms:.2f} ms of a worker and {collecting_ms:.3f} ms of "
        f"the one process that collects, for each dump; bound by {bound}; no store's time is in it",
    )


@dataclass(slots=True)
class _Watched:
    """An engine, with how many tasks were under way at the most."""

    engine: Engine
    most: int = 0

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def workers(self) -> int:
        return self.engine.workers

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | Lost]]:
        under_way = 0

        def taken() -> Iterator[Task]:
            nonlocal under_way
            for task in tasks:
                under_way += 1
                self.most = max(self.most, under_way)
                yield task

        for answer in self.engine.map(function, taken()):
            under_way -= 1
            yield answer

    def close(self) -> None:
        self.engine.close()


def _over_ray(folder: Path, scratch: Path, count: int) -> tuple[list[Figure], float]:
    """The figures, and what a dump costs the process that collects, in ms; 0 without Ray."""
    name = "batch over Ray, two workers against one"
    few = scratch / "few"
    few.mkdir()
    for path in sorted(folder.iterdir())[:count]:
        (few / path.name).hardlink_to(path)
    spent, most = {}, {}
    for workers in (1, WORKERS):
        try:
            made = _Watched(engine("ray", workers))
        except ModuleNotFoundError:
            return [skipped(name, "ray is not installed")], 0.0
        list(made.map(_import, range(4 * workers)))  # workers have imported what they need
        out = scratch / f"ray{workers}.parquet"
        spent[workers] = measured(few, out, lambda made=made: made)  # type: ignore[misc]
        most[workers] = made.most
    same = (scratch / "ray1.parquet").read_bytes() == (scratch / "ray2.parquet").read_bytes()
    both = spent[WORKERS]
    gain = spent[1].wall_s / both.wall_s
    loads = " and ".join(f"{each.load:.1f}" for each in spent.values())
    return [
        Figure(
            name,
            gain,
            "x",
            f">= {RAY_GAIN:g} x",
            gain >= RAY_GAIN and same,
            f"{count} dumps in {spent[1].wall_s:.1f} and {both.wall_s:.1f} s at load "
            f"{loads}; results {'equal' if same else 'DIFFER'} byte for byte",
        ),
        at_most(
            "batch over Ray, tasks under way at the most",
            float(most[WORKERS]),
            float(IN_FLIGHT * WORKERS),
            "",
            f"of {count} dumps, {WORKERS} workers",
        ),
        at_most(
            "batch over Ray, memory while dumps are read, at its most against that at a third",
            both.reading_mb / max(both.third_mb, 1.0),
            GROWTH,
            "x",
            f"{both.third_mb:.0f} and {both.reading_mb:.0f} MB, all of Ray's processes with it",
        ),
    ], 1e3 * both.driver_cpu_s / count


def _import(_: int) -> None:
    import triage.batch.rows  # noqa: F401


def _merged_wrongly(out: Path, injected: dict[str, str]) -> int:
    """Dumps in a cluster most of which was made with another defect, or named as another cause."""
    members: dict[str, Counter[str]] = defaultdict(Counter)
    wrong = 0
    for row in rows_as_dicts(read_table(out), ("url", "signature", "cause")):
        defect = injected[Path(row["url"]).name]
        members[row["signature"]][defect] += 1
        wrong += row["cause"] != CAUSES[defect]
    return wrong + sum(sum(held.values()) - max(held.values()) for held in members.values())


@click.command()
@click.option("--dumps", "count", default=DUMPS, show_default=True)
@click.option("--ray-dumps", "over_ray", default=RAY_DUMPS, show_default=True)
@click.option("--dump", "path", type=click.Path(path_type=Path), required=True)
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the figures here.")
def main(count: int, over_ray: int, path: Path, target: Path | None) -> None:
    """Measure the batch alone, with as many dumps as you like."""
    found = figures(path, count, over_ray)
    for figure in found:
        met = {True: "ok", False: "MISSED", None: ""}[figure.met]
        click.echo(f"{figure.name}: {figure.value:.4g} {figure.unit} {figure.bar} {met}")
        click.echo(f"    {figure.beside}")
    if target is not None:
        target.write_text(json.dumps([figure.json() for figure in found], indent=1))


if __name__ == "__main__":
    main()
