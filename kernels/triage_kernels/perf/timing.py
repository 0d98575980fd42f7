"""Timing on a GPU: two protocols, each running its contenders in turn.

`cold`: events around one call, the L2 cache overwritten before each. For calls of ten
microseconds and more. `replayed`: one graph of many calls over rotating inputs, replayed;
for calls that would otherwise time the launch. Contenders take turns within each round,
so that a drift of the clock falls on all of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

# Overwriting a gigabyte takes longer than a Python launch, so the queue never runs dry.
_FLUSH_BYTES = 2**30
CALLS_PER_GRAPH = 200
Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds of one call: median and the 20th and 80th percentile over the rounds."""

    median: float
    low: float
    high: float
    rounds: int


def _summary(samples: Sequence[float]) -> Timing:
    ordered = sorted(samples)
    at = [ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.2, 0.8)]
    return Timing(statistics.median(ordered), at[0], at[1], len(ordered))


def cold(calls: Mapping[str, Call], rounds: int = 40) -> dict[str, Timing]:
    """Time each call alone, its inputs out of the cache."""
    flush = torch.empty(_FLUSH_BYTES, dtype=torch.int8, device="cuda")
    for call in calls.values():
        for _ in range(3):
            call()
    pairs: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {n: [] for n in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            flush.zero_()
            start.record()
            call()
            end.record()
            pairs[name].append((start, end))
    torch.cuda.synchronize()
    return {
        name: _summary([a.elapsed_time(b) * 1e3 for a, b in timed]) for name, timed in pairs.items()
    }


def capture(variants: Sequence[Call]) -> torch.cuda.CUDAGraph:
    """A graph of many calls, going round the variants (one per set of inputs)."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for call in variants:
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for number in range(CALLS_PER_GRAPH):
            variants[number % len(variants)]()
    return graph


def replayed(calls: Mapping[str, Sequence[Call]], rounds: int = 30) -> dict[str, Timing]:
    """Time each contender inside a graph of its own; per call, launch gap included."""
    graphs = {name: capture(variants) for name, variants in calls.items()}
    return {name: _summary(timed) for name, timed in replays(graphs, rounds).items()}


def replays(graphs: Mapping[str, torch.cuda.CUDAGraph], rounds: int) -> dict[str, list[float]]:
    """Microseconds per call of each graph in every round; there and back, to pair them."""
    samples: dict[str, list[float]] = {name: [] for name in graphs}
    for round_number in range(rounds + 3):
        turn = list(graphs.items())
        for name, graph in turn if round_number % 2 else reversed(turn):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            if round_number >= 3:
                samples[name].append(start.elapsed_time(end) * 1e3 / CALLS_PER_GRAPH)
    return samples
