"""What watching costs: device checker, containment and recorder, on against off.

`host_costs()` runs anywhere: Python microseconds per eager forward and per
graph replay, with the kernels' launches replaced by a no-op, since the
interpreter's own time says nothing about a GPU. `gpu_costs()` needs a GPU:
microseconds per launch, and the share of a decode step of 42 attention
launches in one CUDA graph, sizes as Gemma-4-E4B serves them (35 sliding layers,
window 512, and 7 full ones; 64 requests of 8k tokens). Attention alone is the
basis, without the matrix products, so the share is an upper bound.

    python -m triage.bench.device_cost > costs.json

Long because each figure brings the launch that it measures.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage.bench.figure import Figure, at_most
from triage.device.checker import DeviceChecker
from triage.device.contain import Containment
from triage.device.recorder import FlightRecorder, LaneSpec, window_columns
from triage.device.watch import Watch
from triage.invariants.reads import IndexSpace

LAYERS = ("swa", "swa", "swa", "swa", "swa", "full") * 7
PAGE = 64
WINDOW_LEFT = 511
_NO_LAUNCH = "42 layers, mode contain, recorder on; kernel launches replaced"


@triton.jit
def _paged_decode(
    out_ptr,
    q_ptr,
    k_ptr,
    v_ptr,
    table_ptr,
    length_ptr,
    width,
    WINDOW: tl.constexpr,  # 0: none
    PAGE: tl.constexpr,
    GROUP: tl.constexpr,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
):
    """Decode attention over NHD pages: one program per request and KV head."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    dim = tl.arange(0, DIM)
    query = tl.arange(0, 16)
    token = tl.arange(0, PAGE)
    q_at = (row * HEADS * GROUP + head * GROUP + query[:, None]) * DIM + dim[None, :]
    q = tl.load(q_ptr + q_at, mask=query[:, None] < GROUP, other=0.0)
    length = tl.load(length_ptr + row)
    start = 0
    if WINDOW > 0:
        start = tl.maximum(length - WINDOW, 0)
    best = tl.full([16], float("-inf"), tl.float32)
    weight = tl.zeros([16], tl.float32)
    sums = tl.zeros([16, DIM], tl.float32)
    for page in range(start // PAGE, tl.cdiv(length, PAGE)):
        page_id = tl.load(table_ptr + row * width + page).to(tl.int64)
        at = ((page_id * PAGE + token[:, None]) * HEADS + head) * DIM + dim[None, :]
        k = tl.load(k_ptr + at)
        position = page * PAGE + token
        score = tl.dot(q, tl.trans(k)) * 0.0625
        seen = (position >= start) & (position < length)
        score = tl.where(seen[None, :], score, float("-inf"))
        top = tl.maximum(best, tl.max(score, axis=1))
        scale = tl.exp(best - top)
        part = tl.exp(score - top[:, None])
        v = tl.load(v_ptr + at)
        sums = sums * scale[:, None] + tl.dot(part.to(v.dtype), v)
        weight = weight * scale + tl.sum(part, axis=1)
        best = top
    tl.store(out_ptr + q_at, (sums / weight[:, None]).to(q.dtype), mask=query[:, None] < GROUP)


class Watched:
    """A decode batch, and everything that watches it, at one size."""

    def __init__(
        self,
        device: str,
        *,
        rows: int,
        context: int,
        contain: bool,
        record: bool,
        fingerprint: bool = True,
    ):
        self.device = device
        width = context // PAGE
        draw = torch.Generator().manual_seed(0)
        full_pages = rows * width + 1
        order = torch.randperm(full_pages - 1, generator=draw) + 1
        full = order.view(rows, width).to(torch.int32)
        self.swa_pages = rows * window_columns(WINDOW_LEFT, 1, PAGE) + 1
        slots = full[:, :, None] * PAGE + torch.arange(PAGE, dtype=torch.int32)
        req_to_token = torch.zeros(rows + 1, context, dtype=torch.int32)
        req_to_token[1:] = slots.view(rows, context)
        mapping = torch.zeros(full_pages * PAGE + 1, dtype=torch.int64)
        swa = torch.zeros_like(full)
        kept = self.swa_pages // rows
        swa[:, -kept:] = (torch.randperm(self.swa_pages - 1, generator=draw) + 1)[
            : rows * kept
        ].view(rows, kept)
        for offset in range(PAGE):
            mapping[full[:, -kept:].long() * PAGE + offset] = swa[:, -kept:].long() * PAGE + offset
        self.tables = {"full": full.to(device), "swa": swa.to(device)}
        self.lengths = torch.full((rows,), context - 5, dtype=torch.int32, device=device)
        self.owners = torch.arange(1, rows + 1, device=device)
        self.req_to_token = req_to_token.to(device)
        self.mapping = mapping.to(device)
        self.full_pages = full_pages
        self.spaces = {
            "full": IndexSpace("full", PAGE, full_pages),
            "swa": IndexSpace("swa", PAGE, self.swa_pages),
        }
        self.checker = DeviceChecker(device, interpret=True)
        self.contain = (
            Containment(self.checker, ["full", "swa"], max_rows=rows, max_columns=width)
            if contain
            else None
        )
        self.lanes = [
            LaneSpec("full", PAGE, rows, width, requests=rows + 1),
            LaneSpec("swa", PAGE, rows, width, window_columns(WINDOW_LEFT, 4, PAGE)),
        ]
        self.recorder = None
        if record:
            self.recorder = FlightRecorder(
                device, self.lanes, checker=self.checker, interpret=True, fingerprint=fingerprint
            )

    def window(self, space: str) -> int:
        return WINDOW_LEFT if space == "swa" else -1

    def options(self, space: str) -> dict[str, Any]:
        return {
            "window_left": self.window(space),
            "req_pool_indices": self.owners,
            "req_to_token": self.req_to_token,
            "full_to_swa": self.mapping if space == "swa" else None,
        }

    def watch(self, space: str) -> tuple[Tensor, Tensor]:
        """Check, contain and record one index space; the tensors attention reads."""
        table, lengths = self.tables[space], self.lengths
        options = self.options(space)
        read = table, lengths
        if self.contain is not None:
            read = self.contain.redirect(table, lengths, self.spaces[space], **options)
        else:
            self.checker.check_table(table, lengths, self.spaces[space], **options)
        if self.recorder is not None:
            self.recorder.record(
                space,
                table,
                lengths,
                window_left=self.window(space),
                req_pool_indices=self.owners,
                checked=True,
            )
        return read


def _median_us(call: Callable[[], Any], *, rounds: int, repeats: int) -> float:
    """Median over rounds of the host time of one call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        times.append((time.perf_counter() - start) / repeats * 1e6)
    return round(statistics.median(times), 2)


class _NoLaunch:
    """Stands in for a Triton kernel: takes a grid and arguments, does nothing."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return _nothing


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def host_costs(device: str = "cpu", *, rounds: int = 30, repeats: int = 20) -> dict[str, float]:
    """Host microseconds of watching, launches replaced by a no-op. Runs on any machine.

    forward: 42 launches watched in mode contain, then mark and poll.
    replay: mark and poll alone, which is all that a graph replay costs.
    """
    sizes = Watched(device, rows=64, context=9216, contain=False, record=False)
    watch = Watch(device, sizes.lanes, mode="contain")
    watch.checker._eager = False  # launch, that is call the no-op, on a CPU too
    if watch.recorder is not None:
        watch.recorder._eager = False

    def forward() -> None:
        watch.begin()
        for layer, space in enumerate(LAYERS):
            table, swa = sizes.tables[space], space == "swa"
            window = WINDOW_LEFT if swa else -1
            if watch.seen(space, table, sizes.lengths, 1, window, sizes.spaces[space]):
                continue
            watch.launch(
                space,
                table,
                sizes.lengths,
                sizes.spaces[space],
                facts={"layer_id": layer, "forward_mode": "DECODE", "space": space},
                **sizes.options(space),
            )
        replay()

    def replay() -> None:
        watch.end(0)
        watch.poll()
        # Nothing ran, so nothing beats: the price of the poll is what is measured.
        watch.checker.marks_without_launch = 0

    with ExitStack() as stack:
        for target in (
            "triage.device.launches.check_table_kernel",
            "triage.device.launches.record_kernel",
        ):
            stack.enter_context(mock.patch(target, _NoLaunch()))
        forward()
        return {
            "forward_us": _median_us(forward, rounds=rounds, repeats=repeats),
            "replay_us": _median_us(replay, rounds=rounds, repeats=repeats),
        }


def _captured(body: Callable[[], None]) -> torch.cuda.CUDAGraph:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        body()
        body()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    return graph


def _replay_us(graphs: dict[str, torch.cuda.CUDAGraph], *, rounds: int, replays: int) -> Any:
    """Median GPU microseconds of one replay, the graphs taken in turn within each round."""
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(rounds):
        for name, graph in graphs.items():
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            graph.replay()
            start.record()
            for _ in range(replays):
                graph.replay()
            stop.record()
            stop.synchronize()
            times[name].append(start.elapsed_time(stop) / replays * 1e3)
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def launch_costs(*, rows: int, context: int) -> dict[str, float]:
    """GPU microseconds per launch of each kernel, 20 of them in one graph."""
    plain = Watched("cuda", rows=rows, context=context, contain=False, record=False)
    contained = Watched("cuda", rows=rows, context=context, contain=True, record=False)
    recorded = Watched("cuda", rows=rows, context=context, contain=False, record=True)

    def twenty(call: Callable[[], Any]) -> Callable[[], None]:
        def body() -> None:
            for _ in range(20):
                call()

        return body

    def record(space: str) -> Callable[[], Any]:
        assert recorded.recorder is not None
        recorder = recorded.recorder
        return lambda: recorder.record(
            space,
            recorded.tables[space],
            recorded.lengths,
            window_left=recorded.window(space),
            req_pool_indices=recorded.owners,
        )

    calls: dict[str, Callable[[], Any]] = {"empty": lambda: plain.checker.state[8:9].add_(0)}
    for space in ("full", "swa"):
        calls[f"check {space}"] = lambda space=space: plain.watch(space)  # type: ignore[misc]
        calls[f"contain {space}"] = lambda space=space: contained.watch(space)  # type: ignore[misc]
        calls[f"record {space}"] = record(space)
    graphs = {name: _captured(twenty(call)) for name, call in calls.items()}
    per_graph = _replay_us(graphs, rounds=20, replays=10)
    return {name: round(us / 20, 2) for name, us in per_graph.items()}


def step_costs(*, rows: int = 64, context: int = 8192) -> dict[str, float]:
    """GPU microseconds of a decode step of 42 attention launches in a CUDA graph."""
    watched = Watched("cuda", rows=rows, context=context, contain=True, record=True)
    bare = Watched("cuda", rows=rows, context=context, contain=False, record=False)
    heads, group, dim = 2, 4, 256
    pools = {
        space: [
            torch.randn(pages * PAGE, heads, dim, dtype=torch.bfloat16, device="cuda")
            for _ in range(2 * copies)
        ]
        for space, pages, copies in (
            ("full", watched.full_pages, 1),
            ("swa", watched.swa_pages, 6),  # more than the L2 holds
        )
    }
    query = torch.randn(rows, heads * group, dim, dtype=torch.bfloat16, device="cuda")
    out = torch.empty_like(query)

    def step(watch: Callable[[str], tuple[Tensor, Tensor]]) -> Callable[[], None]:
        def body() -> None:
            read: dict[str, tuple[Tensor, Tensor]] = {}
            for layer, space in enumerate(LAYERS):
                if space not in read:
                    read[space] = watch(space)
                table, lengths = read[space]
                pool = pools[space]
                pair = 2 * layer % len(pool)
                _paged_decode[(rows, heads)](
                    out,
                    query,
                    pool[pair],
                    pool[pair + 1],
                    table,
                    lengths,
                    table.shape[1],
                    WINDOW=WINDOW_LEFT + 1 if space == "swa" else 0,
                    PAGE=PAGE,
                    GROUP=group,
                    HEADS=heads,
                    DIM=dim,
                    num_warps=8,
                    num_stages=2,
                )

        return body

    def naked(space: str) -> tuple[Tensor, Tensor]:
        return bare.tables[space], bare.lengths

    graphs = {
        "off": _captured(step(naked)),
        "off again": _captured(step(naked)),  # what differs from "off" is the noise
        "check": _captured(step(bare.watch)),
        "check, contain, record": _captured(step(watched.watch)),
    }
    costs = _replay_us(graphs, rounds=30, replays=10)
    for name in ("off again", "check", "check, contain, record"):
        costs[f"{name}, percent"] = round((costs[name] / costs["off"] - 1) * 100, 3)
    watched.checker.mark(0)
    (report,) = watched.checker.poll(wait=True)
    costs["launches watched"] = report.launches[1]
    costs["offenders"] = report.total
    return costs


def gpu_costs() -> dict[str, Any]:
    """Everything a GPU can tell, as one JSON-ready record."""
    watched = Watched("cuda", rows=64, context=8192, contain=True, record=True)

    def eager_forward() -> None:
        watched.watch("full")
        watched.watch("swa")
        watched.checker.mark(0)
        watched.checker.poll()

    eager_forward()
    eager = _median_us(eager_forward, rounds=30, repeats=20)
    torch.cuda.synchronize()
    assert watched.recorder is not None
    return {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "host, launches replaced": host_costs("cuda"),
        "host, eager forward with launches_us": eager,
        "launch_us, 64 rows x 8k": launch_costs(rows=64, context=8192),
        "launch_us, 256 rows x 32k": launch_costs(rows=256, context=32768),
        "step_us, 42 attention launches": step_costs(),
        "recorder host bytes": watched.recorder.host_bytes,
        "recorder device bytes": watched.recorder.device_bytes,
    }


def figures() -> list[Figure]:
    """The promises that any machine can check, and on a GPU the price of a decode step."""
    host = host_costs()
    found = [
        at_most("host time per eager forward, watched", host["forward_us"], 80, "us", _NO_LAUNCH),
        at_most("host time per graph replay, watched", host["replay_us"], 20, "us"),
    ]
    if torch.cuda.is_available():
        step = step_costs()
        for name in ("check", "check, contain, record"):
            beside = f"{step[name]:.0f} us, off {step['off']:.0f} us"
            percent = step[f"{name}, percent"]
            found.append(Figure(f"decode step, {name}", percent, "%", beside=beside))
    return found


if __name__ == "__main__":
    json.dump(
        gpu_costs() if torch.cuda.is_available() else {"host, launches replaced": host_costs()},
        sys.stdout,
        indent=2,
    )
    sys.stdout.write("\n")
