"""What a batch costs: E4B-size dumps of eight injected causes, over processes and over Ray.

    python -m triage.bench.batch_speed [--dumps N] [--ray-dumps N] [--json FILE]

A machine that others use says little by the clock, so the processor time of the workers is
measured beside it, and the load is told.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from triage.batch.results import read_table, rows_as_dicts
from triage.batch.run import Batch, Told, run
from triage.bench.batch_dumps import CAUSES, dumps
from triage.bench.figure import Figure, at_most, skipped
from triage.dump.file import read_dump
from triage.engines import Engine, engine

DUMPS, RAY_DUMPS, WORKERS = 10_000, 2_000, 2
RATE, MEMORY_MB, RAY_GAIN, GROWTH = 400.0, 1000.0, 1.5, 1.1
MILLION, FLEET = 1_000_000, 64


@dataclass(slots=True)
class Cost:
    """Of one run. Memory is that of all processes together: at a third of the dumps, at its most
    while they are read, and at its most of all, when the rows are put together."""

    batch: Batch
    wall_s: float
    workers_cpu_s: float
    driver_cpu_s: float
    third_mb: float = 0.0
    reading_mb: float = 0.0
    most_mb: float = 0.0
    load: float = 0.0


@dataclass(slots=True)
class _Memory:
    samples: list[tuple[int, float]] = field(default_factory=list)
    done: int = 0


def figures(path: Path, count: int = DUMPS, over_ray: int = RAY_DUMPS) -> list[Figure]:
    """Of `count` dumps made of the one at `path`."""
    with tempfile.TemporaryDirectory(prefix="triage-batch-") as scratch:
        folder = Path(scratch) / "dumps"
        injected = _made(path, folder, count)
        found = _local(folder, Path(scratch), injected)
        return [*found, *_over_ray(folder, Path(scratch), min(over_ray, count))]


def _made(path: Path, folder: Path, count: int) -> dict[str, str]:
    """File name -> the defect that it was made with."""
    folder.mkdir()
    injected = {}
    for number, (defect, content) in enumerate(dumps(read_dump(path), count)):
        name = f"{number:06d}.msgpack"
        (folder / name).write_bytes(content)
        injected[name] = defect
    return injected


def _local(folder: Path, scratch: Path, injected: dict[str, str]) -> list[Figure]:
    out = scratch / "local.parquet"
    cost = measured(folder, out, lambda: engine("local", WORKERS))
    each_ms = 1e3 * cost.workers_cpu_s / len(injected)
    by_cpu, by_clock = WORKERS / each_ms * 1e3, len(injected) / cost.wall_s
    at = f"load {cost.load:.1f} on {os.cpu_count()} processors"
    clusters = cost.batch.overview.clusters
    wrong = _merged_wrongly(out, injected)
    driver_ms = 1e3 * cost.driver_cpu_s / len(injected)
    model_s = max(MILLION * each_ms / FLEET, MILLION * driver_ms) / 1e3
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
        Figure(
            f"batch, model: {MILLION:,} dumps on {FLEET} workers",
            model_s / 60,
            "min",
            beside=f"a model, not a run: {each_ms:.2f} ms of a worker and {driver_ms:.3f} ms of "
            "the one process that collects, for each dump; no store's time is in it",
        ),
    ]


def _over_ray(folder: Path, scratch: Path, count: int) -> list[Figure]:
    name = "batch over Ray, two workers against one"
    few = scratch / "few"
    few.mkdir()
    for path in sorted(folder.iterdir())[:count]:
        (few / path.name).hardlink_to(path)
    spent = {}
    for workers in (1, WORKERS):
        try:
            made = engine("ray", workers)
        except ModuleNotFoundError:
            return [skipped(name, "ray is not installed")]
        list(made.map(_import, range(4 * workers)))  # workers have imported what they need
        out = scratch / f"ray{workers}.parquet"
        spent[workers] = measured(few, out, lambda made=made: made)  # type: ignore[misc]
    same = (scratch / "ray1.parquet").read_bytes() == (scratch / "ray2.parquet").read_bytes()
    gain = spent[1].wall_s / spent[WORKERS].wall_s
    loads = " and ".join(f"{each.load:.1f}" for each in spent.values())
    return [
        Figure(
            name,
            gain,
            "x",
            f">= {RAY_GAIN:g} x",
            gain >= RAY_GAIN and same,
            f"{count} dumps in {spent[1].wall_s:.1f} and {spent[WORKERS].wall_s:.1f} s at load "
            f"{loads}; results {'equal' if same else 'DIFFER'} byte for byte",
        )
    ]


def _import(_: int) -> None:
    import triage.batch.rows  # noqa: F401


def measured(folder: Path, out: Path, made: Callable[[], Engine]) -> Cost:
    """Explain `folder` into `out`, without minimal dumps."""
    ours, theirs = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with _memory() as memory:

        def tell(told: Told) -> None:
            memory.done = told.done

        batch = run([str(folder)], out, made, minimal=False, tell=tell)
    cost = Cost(
        batch,
        time.perf_counter() - began,
        _cpu(resource.RUSAGE_CHILDREN) - theirs,
        _cpu(resource.RUSAGE_SELF) - ours,
        load=os.getloadavg()[0],
    )
    third = batch.made / 3
    cost.third_mb = max((mb for done, mb in memory.samples if done <= third), default=0.0)
    cost.reading_mb = max((mb for done, mb in memory.samples if done < batch.made), default=0.0)
    cost.most_mb = max((mb for _, mb in memory.samples), default=0.0)
    return cost


def _cpu(whose: int) -> float:
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


@contextmanager
def _memory() -> Iterator[_Memory]:
    """Samples the resident memory of this process and its children, each second."""
    memory, end = _Memory(), threading.Event()

    def look() -> None:
        while not end.wait(1.0):
            memory.samples.append((memory.done, sum(map(_resident_mb, _family()))))

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield memory
    finally:
        end.set()
        watching.join()


def _family() -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task")
    found = [os.getpid()]
    for each in children.glob("*/children"):
        try:
            found += map(int, each.read_text().split())
        except OSError:
            continue
    return found


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 1e6


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
