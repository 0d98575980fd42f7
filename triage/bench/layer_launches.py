"""Record decode steps of a running server with SGLang's own profiler, and count their launches.

    python -m triage.bench.layer_launches TRACE.json.gz --shape 26B-A4B

A real server's own `/start_profile` records a few decode steps, CUDA graphs replayed as they
are; `ask` does that. What the kernels are for is told by `launch_account`.
"""

from __future__ import annotations

import gzip
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click

from triage.bench import launch_account
from triage.errors import LabError
from triage.lab.server import shapes

STEPS = 4
"""Decode steps that are recorded."""


def read(trace: Path) -> list[str]:
    """Names of the kernels of a trace, one a launch. Raises LabError for no trace."""
    try:
        raw = gzip.decompress(trace.read_bytes()) if trace.suffix == ".gz" else trace.read_bytes()
        events = json.loads(raw)["traceEvents"]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise LabError(f"{trace} is no trace of torch's profiler: {error}") from error
    return [event["name"] for event in events if event.get("cat") == "kernel"]


def ask(port: int, directory: Path, give_load: Callable[[], object]) -> dict[str, int]:
    """Kernel name -> launches in some decode steps of the server on `port`.

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
    return dict(Counter(read(_written(directory))).most_common())


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


@click.command()
@click.argument("trace", type=click.Path(exists=True, path_type=Path))
@click.option("--shape", required=True, help="Of the served model: how many layers there are.")
def main(trace: Path, shape: str) -> None:
    """Count the launches of TRACE."""
    found = launch_account.of(Counter(read(trace)), shapes.find(shape))
    for row in found.rows:
        click.echo(f"{row.a_step:8.2f}  {row.purpose:18}  {row.name[:110]}")
    each = ", ".join(f"{name} {n:.2f}" for name, n in found.by_purpose.items())
    click.echo(f"{found.steps} steps; launches a layer (outside the layers: a step): {each}")


if __name__ == "__main__":
    main()
