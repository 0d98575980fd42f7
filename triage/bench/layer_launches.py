"""Record decode steps of a running server with SGLang's own profiler, and count their launches.

    python -m triage.bench.layer_launches TRACE.json.gz --shape 26B-A4B
    python -m triage.bench.layer_launches fused.jsonl

A real server's own `/start_profile` records a few decode steps, CUDA graphs replayed as they
are; `ask` does that. What the kernels are for is told by `launch_account`; printed are the
kernels of a step, and of a layer in the order they ran in.
"""

from __future__ import annotations

import gzip
import json
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from triage.bench import launch_account
from triage.bench.pair_results import Results
from triage.errors import LabError
from triage.lab.server import shapes

STEPS = 4
"""Decode steps that are recorded."""


@dataclass(frozen=True, slots=True)
class Period:
    """The kernels from the attention of each of `layers` up to the next layer's, in order.

    Those are the second half of a layer and the first half of the one behind it.
    """

    layers: tuple[int, ...]
    kernels: tuple[str, ...]


def kept(names: Sequence[str], layers: int) -> dict[str, Any]:
    """What a results file keeps of a trace: raw counts, and periods by the counts' numbers."""
    counts = dict(Counter(names).most_common())
    number = {name: at for at, name in enumerate(counts)}
    found = [
        {"layers": period.layers, "kernels": [number[name] for name in period.kernels]}
        for period in periods(names, layers)
    ]
    return {"layers": layers, "counts": counts, "periods": found}


def periods(names: Sequence[str], layers: int) -> list[Period]:
    """The order of kernels between attention and attention. names: in the order they ran.

    Of each layer what most steps had: the scheduler's own kernels fall in between now and then.
    Empty where the attention launched is no whole number of steps.
    """
    at = [place for place, name in enumerate(names) if launch_account.ONCE_A_LAYER.search(name)]
    if len(at) % layers:
        return []
    seen: defaultdict[int, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for number, (begin, end) in enumerate(pairwise(at)):
        seen[number % layers][tuple(names[begin:end])] += 1
    of: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for layer in range(layers - 1):  # behind the last one stand the head and the next step
        of[seen[layer].most_common(1)[0][0]].append(layer)
    return [Period(tuple(those), kernels) for kernels, those in of.items()]


def read(trace: Path) -> list[str]:
    """Names of the kernels of a trace, one a launch, as they ran. Raises LabError for no trace."""
    try:
        raw = gzip.decompress(trace.read_bytes()) if trace.suffix == ".gz" else trace.read_bytes()
        events = json.loads(raw)["traceEvents"]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise LabError(f"{trace} is no trace of torch's profiler: {error}") from error
    kernels = [event for event in events if event.get("cat") == "kernel"]
    return [event["name"] for event in sorted(kernels, key=lambda event: event["ts"])]


def ask(port: int, directory: Path, give_load: Callable[[], object]) -> list[str]:
    """Names of the kernels of some decode steps of the server on `port`, as they ran.

    give_load: plays a load of more than STEPS steps on it, and returns when it is over.
    directory: where the server writes its traces; they stay there. Raises LabError where no
    trace of a decode step comes.
    """
    wish = {
        "output_dir": str(directory.absolute()),
        "num_steps": STEPS,
        "activities": ["GPU"],
        "profile_by_stage": True,
        "with_stack": False,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/start_profile",
        json.dumps(wish).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=30).close()
    except (OSError, ValueError) as error:
        raise LabError(f"the server records no trace: {error}") from error
    give_load()
    return read(_written(directory))


def _written(directory: Path, within_s: float = 30.0) -> Path:
    """The decode trace, once it is whole: its size no longer changes."""
    deadline, size = time.monotonic() + within_s, -1
    while time.monotonic() < deadline:
        found = sorted(directory.glob("*DECODE*.json.gz"), key=lambda file: file.stat().st_mtime)
        if found and found[-1].stat().st_size == size > 0:
            return found[-1]
        size = found[-1].stat().st_size if found else -1
        time.sleep(0.5)
    raise LabError(f"no trace of a decode step in {directory} within {within_s:.0f} s")


def told(note: Mapping[str, Any], shape: shapes.Shape) -> str:
    """What is kept of a trace, as text. Raises LabError as `launch_account.stored` does."""
    found = launch_account.stored(note, shape)
    lines = [f"{row.a_step:8.2f}  {row.purpose:18}  {row.name[:110]}" for row in found.rows]
    each = ", ".join(f"{name} {n:.2f}" for name, n in found.by_purpose.items())
    lines.append(f"{found.steps} steps; launches a layer (outside the layers: a step): {each}")
    names = list(note.get("counts", ()))
    for period in note.get("periods", ()):
        lines.append(f"from attention to attention, layers {_ranges(period['layers'])}:")
        lines += [f"          {names[number][:110]}" for number in period["kernels"]]
    return "\n".join(lines)


def _ranges(numbers: Sequence[int]) -> str:
    """(0, 1, 2, 4) as "0-2, 4"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--shape", help="Of the server that wrote the trace: how many layers there are.")
def main(file: Path, shape: str | None) -> None:
    """Tell the launches of FILE: a trace, or results of `fused_serving` (.jsonl)."""
    if file.suffix != ".jsonl":
        if shape is None:
            raise click.UsageError("a trace says nothing of its shape: give --shape")
        served = shapes.find(shape)
        click.echo(told(kept(read(file), served.layers), served))
        return
    for note in Results(file).notes:
        if "launches" in note:
            click.echo(f"{note['shape']}, {note['side']}:")
            try:
                if note["launches"] is None:
                    raise LabError(note["why"])
                click.echo(told(note["launches"], shapes.find(note["shape"])))
            except LabError as error:
                click.echo(f"not counted: {error}")


if __name__ == "__main__":
    main()
