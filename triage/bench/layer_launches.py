"""Kernel launches per decoder layer of a decode step, from the trace that SGLang's profiler wrote.

    python -m triage.bench.layer_launches TRACE.json.gz --shape 26B-A4B

A real server's own `/start_profile` records a few decode steps, CUDA graphs replayed as they
are; `ask` does that. Of the kernels of a step those of attention, of the cache write and of the
experts are counted apart, what runs a handful of times a step stands outside the layers
(embedding, head, sampling), and the rest, matrix products too, is divided by the layers. Which
name was counted as what is printed beside it: the classes are by name alone.
"""

from __future__ import annotations

import gzip
import json
import re
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from triage.errors import LabError
from triage.lab.server import shapes

STEPS = 4
"""Decode steps that are recorded."""

ATTENTION, CACHE, EXPERTS, LAYER, OUTSIDE = (
    "attention",
    "cache write",
    "experts",
    "layer",
    "outside the layers",
)
_NAMED = (
    (CACHE, re.compile(r"store_?kv|store_cache|set_kv|_preamble_kernel|index_put", re.IGNORECASE)),
    (ATTENTION, re.compile(r"_fwd_\w*kernel|attention|fmha|flash|xqa|mqa", re.IGNORECASE)),
    (
        EXPERTS,
        re.compile(r"fused_moe|moe_align|moe_sum|count_and_sort|grouped_topk", re.IGNORECASE),
    ),
)
_PREAMBLE = "_preamble_kernel"
"""Ours: norms, rotation and cache write in one. It is a launch of the layer all the same."""
_ACTIVATION = "act_and_mul"
"""Of the dense block and of the experts alike: one a layer is the experts'."""


@dataclass(frozen=True, slots=True)
class Launches:
    """Of one decode step. kernels: name -> (class, launches a step).

    per_layer: launches a layer outside attention, cache write and experts.
    """

    shape: str
    steps: int
    per_layer: float
    by_class: dict[str, float]
    kernels: dict[str, tuple[str, float]]

    def json(self) -> dict[str, Any]:
        return asdict(self)


def counted(names: Iterable[str], shape: shapes.Shape) -> Launches:
    """The kernels of some decode steps, by name, one entry a launch.

    The steps are told by attention, of which a layer launches its first stage once.
    Raises LabError where no kernel of attention was recorded.
    """
    count = Counter(names)
    attention = [n for name, n in count.items() if _class(name) == ATTENTION]
    steps = max(attention, default=0) // shape.layers
    if not steps:
        seen = ", ".join(name[:60] for name, _ in count.most_common(5)) or "none"
        raise LabError(
            f"no decode step of {shape.layers} layers was recorded; kernels most seen: {seen}"
        )
    rare = min(shape.layer_types.count("full_attention"), 4)
    kernels: dict[str, tuple[str, float]] = {}
    for name, launches in count.most_common():
        each = launches / steps
        of = _class(name)
        if of == LAYER and each < rare:
            of = OUTSIDE
        kernels[name] = of, each
    by_class: defaultdict[str, float] = defaultdict(float)
    for name, (of, each) in kernels.items():
        if shape.experts and _ACTIVATION in name and each >= 2 * shape.layers:
            by_class[EXPERTS] += shape.layers
            each -= shape.layers
        by_class[LAYER if _PREAMBLE in name else of] += each
    found = {of: by_class[of] / shape.layers for of in (LAYER, ATTENTION, CACHE, EXPERTS)}
    found[OUTSIDE] = by_class[OUTSIDE]
    return Launches(shape.name, steps, found[LAYER], found, kernels)


def _class(name: str) -> str:
    return next((of for of, pattern in _NAMED if pattern.search(name)), LAYER)


def read(trace: Path) -> list[str]:
    """Names of the kernels of a trace, one a launch. Raises LabError for no trace."""
    try:
        raw = gzip.decompress(trace.read_bytes()) if trace.suffix == ".gz" else trace.read_bytes()
        events = json.loads(raw)["traceEvents"]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise LabError(f"{trace} is no trace of torch's profiler: {error}") from error
    return [event["name"] for event in events if event.get("cat") == "kernel"]


def ask(
    port: int, directory: Path, shape: shapes.Shape, give_load: Callable[[], object]
) -> Launches:
    """Record decode steps of the server on `port` while it plays a load of more than STEPS.

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
    return counted(read(_written(directory)), shape)


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
    found = counted(read(trace), shapes.find(shape))
    for name, (of, each) in found.kernels.items():
        click.echo(f"{each:8.2f}  {of:18}  {name[:110]}")
    click.echo(f"{found.steps} steps; launches a layer: {found.by_class}")


if __name__ == "__main__":
    main()
