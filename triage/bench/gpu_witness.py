"""I28 on a GPU: right kernels are silent, a planted wrong row is told, eager and in a graph.

    python -m triage.bench.gpu_witness                 a plain kernel of torch, under 30 s
    python -m triage.bench.gpu_witness --flashinfer    FlashInfer's own decode kernel (XQA on
                                                       sm_90, trtllm-gen on sm_100), which it
                                                       compiles at the first call

One JSON object a line; needs a CUDA device, no SGLang. Launches are those of a decode and of a
verify of four tokens, full and sliding, bf16 and an fp8 cache, 16 rows of up to 8k tokens;
the witness is the one that a server has. `nearest` is the largest difference of a right
element as a share of what is allowed: above 1 would be an alarm. Exit code 0 if every plant
was told and everything else was silent.

Long because each form brings the launch that it plays.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from triage.bench.gpu_order import no_sync
from triage.dump.flashinfer_api import DECODE
from triage.dump.store import DumpStore
from triage.errors import WrongOutput
from triage.lab.decode_step import Backend, Batch, Layer
from triage.sglang.binding.patches import Patches
from triage.sglang.launch.call import AttentionCall
from triage.sglang.traps import Traps

ROWS, PAGE, WIDTH, HEADS, KV_HEADS, DIM, WINDOW = 16, 64, 128, 8, 1, 256, 511

Kernel = Callable[[AttentionCall], Tensor]


def torch_kernel(call: AttentionCall) -> Tensor:
    """A plain program: float32 sums, weights and output rounded to the queries' type."""
    key, value = call.kv
    each = call.q_len_per_req
    rows = call.block_tables.shape[0]
    pages = call.block_tables.long()
    if key.dtype == torch.float8_e4m3fn:
        bytes_of = key.view(torch.uint8)[pages], value.view(torch.uint8)[pages]
        found_kv = [part.view(key.dtype) for part in bytes_of]
    else:
        found_kv = [key[pages], value[pages]]
    keys, values = (part.transpose(1, 2).flatten(2, 3).float() for part in found_kv)
    group = HEADS // KV_HEADS
    query = call.query.view(rows, each, KV_HEADS, group, DIM).float()
    query = query.permute(0, 2, 3, 1, 4).reshape(rows, KV_HEADS, group * each, DIM)
    logits = query @ keys.transpose(2, 3) * float(call.arguments["bmm1_scale"])
    logits = logits.view(rows, KV_HEADS, group, each, -1)
    position = torch.arange(logits.shape[-1], device=logits.device)
    back = torch.arange(each - 1, -1, -1, device=logits.device)
    at = call.cache_seqlens.long()[:, None] - 1 - back
    mask = position <= at[:, :, None]
    if call.window_left >= 0:
        mask &= position >= at[:, :, None] - call.window_left
    logits = logits.masked_fill(~mask[:, None, None], -torch.inf)
    weights = (logits - logits.amax(-1, keepdim=True)).exp()
    total = weights.sum(-1, keepdim=True)
    weights = weights.to(torch.bfloat16).float().view(rows, KV_HEADS, group * each, -1)
    found = (weights @ values).view(rows, KV_HEADS, group, each, DIM) / total
    found = found.permute(0, 3, 1, 2, 4).reshape(rows * each, HEADS, DIM)
    return (found * float(call.arguments["bmm2_scale"])).to(call.query.dtype)


def flashinfer_kernel(call: AttentionCall) -> Tensor:
    """FlashInfer's decode function, with the arguments as they are."""
    import flashinfer.decode

    result: Tensor = flashinfer.decode.trtllm_batch_decode_with_kv_cache(**call.arguments)
    return result


class Rig:
    """A process's traps with the witness at every step, and launches of one form.

    width: pages of the longest row. device: "cpu" where only our own code is looked at.
    """

    def __init__(
        self,
        cache: torch.dtype,
        window: int,
        queries: int,
        *,
        width: int = WIDTH,
        device: str = "cuda",
        mode: str = "contain",
    ) -> None:
        self.device = device
        generator = torch.Generator().manual_seed(0)
        self.traps = Traps(
            DumpStore(Path(tempfile.mkdtemp(prefix="triage-witness-"))), mode=mode, witness=1
        )
        assert self.traps.witness is not None
        self.witness = self.traps.witness
        pages, longest = ROWS * width + 1, width * PAGE
        order = torch.randperm(pages - 1, generator=generator) + 1
        lengths = torch.randint(longest // 8, longest, (ROWS,), generator=generator)
        lengths[0], lengths[1] = queries, longest
        shape = (pages, KV_HEADS, PAGE, DIM)
        key, value = (torch.randn(shape, generator=generator).to(device, cache) for _ in range(2))
        query = torch.randn(ROWS * queries, HEADS, DIM, generator=generator)
        self.arguments: dict[str, Any] = {
            "query": query.to(device, torch.bfloat16),
            "kv_cache": (key, value),
            "workspace_buffer": torch.zeros(128 << 20, dtype=torch.uint8, device=device),
            "block_tables": order.view(ROWS, width).to(device, torch.int32),
            "seq_lens": lengths.to(device, torch.int32),
            "max_seq_len": longest,
            "bmm1_scale": DIM**-0.5,
            "bmm2_scale": 1.0 if cache == torch.bfloat16 else 0.5,
            "window_left": window,
            "q_len_per_req": queries,
        }
        self.call = AttentionCall(DECODE, self.arguments)
        pool = SimpleNamespace(size=(pages - 1) * PAGE, page_size=PAGE)
        self.backend = Backend(pool, torch.zeros(ROWS + 1, longest, dtype=torch.int32))
        self.batch = Batch(torch.arange(1, ROWS + 1, device=device), batch_size=ROWS)
        self.layer = Layer(3)
        self.step = 0

    def launch(self, kernel: Kernel) -> Tensor:
        """One launch, observed as the wrapper of FlashInfer's call has it observed."""
        with self.traps.launches.entered(self.backend, self.layer, self.batch):
            output = kernel(self.call)
            if self.witness.looking:
                with no_sync() if self.device == "cuda" else nullcontext():
                    self.witness.observe(DECODE, self.arguments, output)
        return output

    def release(self) -> str:
        """What is told of the step; "" if nothing is."""
        try:
            self.witness.release(self.step)
        except WrongOutput as error:
            return error.evidence.summary
        return ""

    def eager(self, kernel: Kernel) -> str:
        self.step += 1
        self.witness.begin(self.step)
        self.launch(kernel)
        self.witness.end()
        return self.release()

    def in_graph(self, kernel: Kernel) -> str:
        """Captured once, replayed in three steps, the last of which is told."""
        patches = Patches(self.traps.replays.patches())
        patches.install()
        told = ""
        try:
            stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self.launch(kernel)  # warms up: kernels are compiled and loaded
            torch.cuda.synchronize()
            with torch.cuda.graph(graph, stream=stream):
                self.launch(kernel)
            for _ in range(3):
                self.step += 1
                self.witness.begin(self.step)
                with torch.cuda.stream(stream):
                    graph.replay()
                self.witness.end()
                told = told or self.release()
        finally:
            torch.cuda.synchronize()
            patches.restore()
        return told

    def replay_cost(self, kernel: Kernel, rounds: int = 300) -> dict[str, float]:
        """Device microseconds of a replay: with what the graph copies for the witness, without.

        What every step pays whose graphs hold such a launch, looked at or not. The quickest of
        five turns each.
        """
        patches, stream = Patches(self.traps.replays.patches()), torch.cuda.Stream()
        found = {}
        for name in ("graph_us", "recorded_us"):
            if name == "recorded_us":
                patches.install()
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, stream=stream):
                    self.launch(kernel)
            finally:
                patches.restore()
            best = float("inf")
            for _ in range(5):
                started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                with torch.cuda.stream(stream):
                    started.record()
                    for _ in range(rounds):
                        graph.replay()
                    ended.record()
                ended.synchronize()
                best = min(best, started.elapsed_time(ended) / rounds * 1000)
            found[name] = best
        return found

    def cost(self, kernel: Kernel) -> dict[str, float]:
        """Host microseconds of a step that is looked at, more than one that is not."""

        def step(due: bool) -> tuple[float, float]:
            self.step += 1
            self.witness.begin(self.step)
            self.witness.looking = self.witness._due = due
            torch.cuda.synchronize()
            started = time.perf_counter()
            self.launch(kernel)
            queued = time.perf_counter()
            self.witness.end()
            torch.cuda.synchronize()
            behind = time.perf_counter()
            self.release()
            return (queued - started) * 1e6, (time.perf_counter() - behind) * 1e6

        off = min(step(False)[0] for _ in range(20))
        on = [step(True) for _ in range(20)]
        return {
            "copies_us": min(each[0] for each in on) - off,
            "compared_us": min(each[1] for each in on),
        }


def misplaced(kernel: Kernel) -> Kernel:
    """`kernel`, with the output of row 0 where row 2's belongs."""

    def wrong(call: AttentionCall) -> Tensor:
        output = kernel(call)
        each = call.q_len_per_req
        output[2 * each : 3 * each] = output[:each]
        return output

    return wrong


def forms(flashinfer: bool) -> list[tuple[str, torch.dtype, int, int]]:
    """Name, cache, window, queries a row. XQA takes one query a row here: more need a mask."""
    xqa = flashinfer and torch.cuda.get_device_capability()[0] != 10
    found = [
        ("decode, full", torch.bfloat16, -1, 1),
        ("decode, sliding", torch.bfloat16, WINDOW, 1),
        ("decode, full, fp8 cache", torch.float8_e4m3fn, -1, 1),
        ("verify of 4, full", torch.bfloat16, -1, 4),
        ("verify of 4, sliding", torch.bfloat16, WINDOW, 4),
    ]
    return [each for each in found if each[3] == 1 or not xqa]


def main(arguments: list[str]) -> int:
    if not torch.cuda.is_available():
        sys.stderr.write("needs a CUDA device\n")
        return 3
    torch.backends.cuda.matmul.allow_tf32 = False
    flashinfer = "--flashinfer" in arguments
    kernel = flashinfer_kernel if flashinfer else torch_kernel
    held = True
    for name, cache, window, queries in forms(flashinfer):
        rig = Rig(cache, window, queries)
        try:
            told = [rig.eager(kernel) for _ in range(6)]
            graph = rig.in_graph(kernel)
            rows, nearest = rig.witness.rows, rig.witness.nearest
            plants = [Rig(cache, window, queries), Rig(cache, window, queries)]
            wrong = next(filter(None, (plants[0].eager(misplaced(kernel)) for _ in range(4))), "")
            wrong_in_graph = plants[1].in_graph(misplaced(kernel))
        except Exception as error:  # a form that this kernel does not take is named, not hidden
            print(json.dumps({"form": name, "left out": f"{type(error).__name__}: {error}"[:500]}))
            held &= flashinfer
            continue
        failures = dict(rig.traps.reporter.shells.failures)
        fine = not any(told) and not graph and bool(wrong) and bool(wrong_in_graph) and not failures
        held &= fine and rows > 0
        figures = {
            "form": name,
            "rows_compared": rows,
            "nearest": round(nearest, 4),
            "silent": not any(told) and not graph,
            "told": wrong,
            "told_in_graph": wrong_in_graph,
            "left_out": dict(rig.witness.left_out),
            "failures": failures,
            "cost": {**rig.cost(kernel), **rig.replay_cost(kernel)},
        }
        print(json.dumps(figures), flush=True)
    print(json.dumps({"held": held}))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
