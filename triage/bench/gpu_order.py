"""I18 on a GPU: a planted missing wait, the same with the wait, and what a replay costs.

    python -m triage.bench.gpu_order          one JSON object a line; needs a CUDA device, no SGLang

A graph reads a static table after a while of spinning; each step refills the table and replays
the graph, the host a step ahead of the device as under SGLang's overlap schedule. The hooks are
those of a server, on torch's own `CUDAGraph`; whose metadata the graph reads is told as the
traps tell it. Exit code 0 if the plant was told and the others were silent.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from triage.device.cuda_streams import CudaStreams
from triage.sglang.binding.patches import Patches
from triage.sglang.binding.shell import Shells
from triage.sglang.launch.graph_replays import GraphReplays
from triage.sglang.launch.hot_state import HotState
from triage.sglang.launch.order import Order

SPIN_CYCLES = 1_500_000  # most of a millisecond
STEPS = 40
TABLE = (64, 144)


class Backend:
    """Stands for an attention backend: whose metadata the graph reads."""


class Server:
    """A graph over one backend's table, the hooks bound, `step` as a decode step's shape."""

    def __init__(self, *, spin: int = SPIN_CYCLES) -> None:
        self.number = 0
        self.hot = HotState()
        self.order = Order(lambda: self.number)
        self.order.streams = CudaStreams(torch.device("cuda"))
        self.shells = Shells()
        self.replays = GraphReplays(self.hot, self.shells.of("replays"))
        self.replays.listeners.append(self.order)
        self.patches = Patches(self.replays.patches())
        self.backend = Backend()
        self.table = torch.zeros(TABLE, dtype=torch.int32, device="cuda")
        self.source = torch.ones_like(self.table)
        self.forward, self.plan = torch.cuda.Stream(), torch.cuda.Stream()
        self.patches.install()
        self.graph = torch.cuda.CUDAGraph()
        self.read = torch.zeros(TABLE, dtype=torch.int64, device="cuda")
        with torch.cuda.graph(self.graph, stream=self.forward):
            self.replays.note_backend(self.backend)
            if spin:
                torch.cuda._sleep(spin)
            self.read.copy_(self.table)
        torch.cuda.synchronize()

    def close(self) -> None:
        torch.cuda.synchronize()
        self.patches.restore()

    def step(self, refill_on: torch.cuda.Stream, *, waits: bool) -> None:
        """Refill on one stream, replay on the forward's, which waits for the refill."""
        self.number += 1
        with torch.cuda.stream(refill_on):
            if waits:
                refill_on.wait_stream(self.forward)
            self.table.copy_(self.source)
            self.order.refilled(self.backend)
        with torch.cuda.stream(self.forward):
            self.forward.wait_stream(refill_on)
            self.graph.replay()


def play(*, two_streams: bool, waits: bool, steps: int = STEPS) -> dict[str, Any]:
    """What was told of `steps` steps, the host at most two steps ahead."""
    server = Server()
    found = None
    try:
        ends = []
        for _ in range(steps):
            server.step(server.plan if two_streams else server.forward, waits=waits)
            ends.append(server.forward.record_event())
            if len(ends) > 2:
                ends.pop(0).synchronize()  # the harness's wait, as the scheduler's for a result
            found = found or server.order.broken()
        torch.cuda.synchronize()
        found = found or server.order.broken()
    finally:
        server.close()
    return {
        "streams": 2 if two_streams else 1,
        "waits": waits,
        "steps": steps,
        "replays_seen": server.order.replays,
        "refills_on_another_stream": server.order.crossed,
        "told": None if found is None else f"{found.invariant}: {found.summary}",
        "facts": {} if found is None else found.facts,
        "failures": server.shells.failures,
    }


def cost(rounds: int = 2000) -> dict[str, float]:
    """Microseconds of host time that a replay takes: unhooked, on one stream, with an event.

    The quickest of five turns of `rounds` each. CUDA's own sync debug mode is "error" meanwhile.
    Of an event: what CUDA takes to record one that is there (`event_alone_us`, the floor) and to
    make one too. "across": refill on another stream, replay, and the question after both.
    """
    server = Server(spin=0)
    order, streams = server.order, server.order.streams
    assert streams is not None

    def turn(replay: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(5):
            torch.cuda.synchronize()
            with no_sync(), torch.cuda.stream(server.forward):
                started = time.perf_counter()
                for _ in range(rounds):
                    replay()
                best = min(best, time.perf_counter() - started)
        return best / rounds * 1e6

    def refilled_and_replayed() -> None:
        server.order.refilled(server.backend)
        server.graph.replay()

    def across() -> None:
        with torch.cuda.stream(server.plan):
            order.refilled(server.backend)
        server.graph.replay()
        order.broken()

    def across_unhooked() -> None:
        with torch.cuda.stream(server.plan):
            pass
        torch._C._CUDAGraph.replay(server.graph)

    try:
        plain = turn(lambda: torch._C._CUDAGraph.replay(server.graph))
        one_stream = turn(refilled_and_replayed)
        server.order.crossing = True
        with_event = turn(refilled_and_replayed)
        more_across = turn(across) - turn(across_unhooked)
        event = streams.record()
        alone = turn(lambda: streams.record(event))
        fresh = turn(lambda: streams.record())
    finally:
        server.close()
    return {
        "replay_us": plain,
        "more_on_one_stream_us": one_stream - plain,
        "more_with_an_event_us": with_event - plain,
        "more_across_us": more_across,
        "event_alone_us": alone,
        "event_made_us": fresh,
    }


class no_sync:
    """CUDA's own view: what waits for the device inside raises."""

    def __enter__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls the mode a prototype, once a process
            torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *exception: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


def main() -> int:
    if not torch.cuda.is_available():
        sys.stderr.write("needs a CUDA device\n")
        return 3
    runs = [
        play(two_streams=False, waits=False),
        play(two_streams=True, waits=True),
        play(two_streams=True, waits=False),
    ]
    for run in runs:
        print(json.dumps(run), flush=True)
    print(json.dumps({"cost": cost()}), flush=True)
    silent = all(run["told"] is None for run in runs[:2])
    told = runs[2]["told"] is not None
    print(json.dumps({"plant_told": told, "others_silent": silent}))
    return 0 if told and silent else 1


if __name__ == "__main__":
    sys.exit(main())
