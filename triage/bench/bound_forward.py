"""One decode forward of SGLang's own backend, with the hooks as `install` binds them, and without.

    python -m triage.bench.bound_forward contain [LAYERS [ROUNDS]]     one line of JSON

The backend, its metadata, the pools and the layers are SGLang's, 42 layers of which all but
the last 18 own their KV, 64 rows at 9k tokens; without rounds it counts and measures no
time. The requests share a prompt and each has a last page of its own, so that mode `raise`
finds what is right. Replaced, because they are kernels or need a GPU: the FlashInfer function
(one of its signature that returns its output buffer), SGLang's page-table build (by a copy of
the right tables) and KV store, and the launches of our own kernels. The scheduler is not
importable there, so begin, mark and release of a step are called as its hooks would.

"Off" puts every target back to the function that SGLang defined; on and off are measured
in turns. A process of its own, since SGLang's hooks stay bound.
"""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from triage import config

ROWS, LENGTH, ROUNDS, TURN = 64, 9213, 4000, 200


def flashinfer_function(output: Any) -> Callable[..., Any]:
    """Stands for FlashInfer 0.6.17's decode function: its parameters, no work."""

    def trtllm_batch_decode_with_kv_cache(
        query: Any,
        kv_cache: Any,
        workspace_buffer: Any,
        block_tables: Any,
        seq_lens: Any,
        max_seq_len: int,
        bmm1_scale: Any = 1.0,
        bmm2_scale: Any = 1.0,
        window_left: int = -1,
        out: Any = None,
        out_dtype: Any = None,
        o_sf_scale: Any = None,
        o_sf_vec_size: Any = None,
        sinks: Any = None,
        kv_layout: str = "HND",
        enable_pdl: Any = None,
        backend: str = "auto",
        q_len_per_req: Any = 1,
        o_scale: Any = 1.0,
        mask: Any = None,
        max_q_len: Any = None,
        cum_seq_lens_q: Any = None,
        skip_softmax_threshold_scale_factor: Any = None,
        kv_cache_sf: Any = None,
        uses_shared_paged_kv_idx: bool = True,
        lse: Any = None,
        return_lse: bool = False,
        bmm1_scale_log2: Any = None,
        multi_ctas_kv_counter_buffer: Any = None,
        enable_block_sparse_attention: bool = False,
    ) -> Any:
        return output

    return trtllm_batch_decode_with_kv_cache


class Targets:
    """Every function that is hooked, as bound and as SGLang defined it."""

    def __init__(self, targets: list[str]) -> None:
        self._states: list[tuple[Any, str, Any, Any]] = []
        for target in targets:
            path, _, name = target.rpartition(".")
            owner = pkgutil.resolve_name(path)
            bound = inspect.getattr_static(owner, name)
            self._states.append((owner, name, bound, inspect.unwrap(bound)))

    def set(self, *, bound: bool) -> None:
        for owner, name, hooked, plain in self._states:
            setattr(owner, name, hooked if bound else plain)


class Decode:
    """The forward. `traps` makes it a step of an armed scheduler."""

    def __init__(self, runtime: Any, slots: Any) -> None:
        """Args:
        slots: `(ROWS, LENGTH)`, the slot of each token.
        """
        import torch
        from sglang.srt.model_executor.forward_batch_info import ForwardBatch, ForwardMode

        geometry = runtime.geometry
        self.backend, self.layers = runtime.target_backend, runtime.layers
        self.own_kv = geometry.own_kv_layers
        self.rows = torch.zeros(ROWS, geometry.num_heads, geometry.head_dim, dtype=torch.float16)
        lengths = torch.full((ROWS,), LENGTH, dtype=torch.int64)
        self.batch = ForwardBatch(
            forward_mode=ForwardMode.DECODE,
            batch_size=ROWS,
            input_ids=torch.zeros(ROWS, dtype=torch.int64),
            req_pool_indices=torch.arange(1, ROWS + 1),
            seq_lens=lengths,
            out_cache_loc=slots[:, -1].contiguous(),
            seq_lens_sum=int(lengths.sum()),
            seq_lens_cpu=lengths,
        )
        self.batch.token_to_kv_pool = runtime.token_to_kv_pool
        self.batch.attn_backend = self.backend

    def run(self, traps: Any = None) -> None:
        begun = traps.steps.begin() if traps is not None else 0
        self.backend.init_forward_metadata(self.batch)
        rows = self.rows
        for index, layer in enumerate(self.layers):
            kv = rows if index < self.own_kv else None
            self.backend.forward_decode(
                rows, kv, kv, layer, self.batch, save_kv_cache=kv is not None
            )
        self._close(traps, begun)

    def replay(self, traps: Any = None) -> None:
        """What a graph replay leaves on the host: metadata is in the graph, the mark is not."""
        begun = traps.steps.begin() if traps is not None else 0
        if traps is not None:
            traps.launches.forget_tables(self.backend, graph=True)
        self._close(traps, begun)

    @staticmethod
    def _close(traps: Any, begun: int) -> None:
        if traps is not None:
            traps.steps.forward_done()
            traps.steps.end()
            traps.steps.release(begun)


def lay_out(runtime: Any) -> tuple[Any, Callable[..., None]]:
    """Give 64 requests their pages, in both pools the same.

    All but the last are of a prompt that they share.

    Returns: slots `(ROWS, LENGTH)`, and what stands for SGLang's table build.
    """
    import torch

    page = runtime.geometry.page_size
    pages = -(-LENGTH // page)
    table = torch.arange(1, pages + 1).repeat(ROWS, 1)
    table[:, -1] = pages + torch.arange(ROWS)
    slots = (table[:, :, None] * page + torch.arange(page)).reshape(ROWS, -1)[:, :LENGTH]
    runtime.req_to_token_pool.req_to_token[1 : ROWS + 1, :LENGTH] = slots
    mapping = runtime.token_to_kv_pool.full_to_swa_index_mapping
    mapping[: page * (pages + ROWS)] = torch.arange(page * (pages + ROWS))
    table = table.to(torch.int32)

    def build(*, page_table: Any, swa_page_table: Any = None, **_: Any) -> None:
        page_table[:, :pages].copy_(table)
        if swa_page_table is not None:
            swa_page_table[:, :pages].copy_(table)

    return slots, build


@contextmanager
def prepared(mode: str, layers: int = 42) -> Iterator[tuple[Decode, Any]]:
    """The forward and the traps of this process, SGLang's build and store replaced inside.

    The variables of the environment hold as in a server; it asks for the traps in `mode`.
    """
    os.environ.update(
        {
            config.DEBUG: "1",
            config.MODE: mode,
            config.DIRECTORY: tempfile.gettempdir(),
            "SGLANG_PLUGINS": "sglang_triage",
        }
    )
    from triage.lab import bootstrap

    bootstrap.prepare()
    import torch

    from triage.lab.flashinfer_stub import StandInFlashInfer
    from triage.lab.runtime import Geometry, Runtime

    stand_in = StandInFlashInfer(lambda call: None)
    stand_in.install()
    out = torch.zeros(ROWS, 1, 8, dtype=torch.float16)
    stand_in.module.decode.trtllm_batch_decode_with_kv_cache = flashinfer_function(out)
    installed = load_and_bind()
    geometry = Geometry(
        page_size=64,
        swa_pages=1024,
        full_pages=1024,
        window=512,
        num_layers=layers,
        full_every=6,
        kv_shared_layers=18,
        context_len=9216,
        max_requests=ROWS,
    )
    traps = installed.traps
    traps.launches.watching.heartbeat = 1 << 60  # no kernel runs, so none is heard
    runtime = Runtime(geometry, draft_tokens=1, draft_steps=1, draft="none")
    slots, build = lay_out(runtime)
    watch = traps.launches.watching.watch
    watch.checker._eager = watch.recorder._eager = False  # launch, that is call the no-op
    backend, pool = "sglang.srt.layers.attention.trtllm_mha_backend", "sglang.srt.mem_cache"
    with (
        mock.patch(f"{backend}.build_trtllm_mha_page_table", build),
        mock.patch(f"{pool}.memory_pool.MHATokenToKVPool.set_kv_buffer", lambda *_, **__: None),
    ):
        yield Decode(runtime, slots), installed


def measure(mode: str, layers: int = 42, rounds: int = ROUNDS) -> dict[str, Any]:
    """Microseconds of a forward, on less off, and of a replay; reads and launches of one."""
    with prepared(mode, layers) as (decode, installed):
        from triage.bench.watch_cost import no_kernels  # Triton, behind the lab's own choice
        from triage.device.syncs import count_syncs
        from triage.lab import bootstrap

        traps = installed.traps
        targets = Targets([binding.target for binding in installed.bindings])
        with no_kernels():
            forward = _difference_us(
                targets, lambda: decode.run(traps), lambda: decode.run(), rounds
            )
            replay = _difference_us(targets, lambda: decode.replay(traps), decode.replay, rounds)
            decode.run(traps)  # the next has tables of a form that is known
        with count_syncs(forbid=mode != "raise") as counts, no_kernels(counts):
            before = traps.counts["launches"]
            decode.run(traps)
            watched = traps.counts["launches"] - before
    return {
        "sglang": bootstrap.sglang_version(),
        "forward_us": forward[0] - forward[1],
        "off_us": forward[1],
        "replay_us": replay[0] - replay[1],
        "host_reads": counts.total_host_reads,
        "launches": dict(counts.launches),
        "bound": len(installed.bindings),
        "layers": len(decode.layers),
        "watched": watched,
    }


def load_and_bind() -> Any:
    from sglang.srt.plugins import load_plugins

    from triage.sglang.install import state

    load_plugins()
    installed = state()
    if installed is None or not installed.active:
        raise SystemExit("the plugin was not loaded: pip install -e . in this environment")
    return installed


def _difference_us(
    targets: Targets, on: Callable[[], None], off: Callable[[], None], rounds: int
) -> tuple[float, float]:
    """The quickest of `rounds` of each, in turns of `TURN`: what other processes add is not ours.

    Setting a target makes CPython's inline caches stale, and a place that is passed once a
    forward needs 53 misses before it is specialised again: a turn is long beside that, as a
    server's hooks are bound for life.
    """
    best = [float("inf") if rounds else 0.0] * 2
    for _ in range(rounds // TURN):
        for which, call in enumerate((on, off)):
            targets.set(bound=which == 0)
            for _ in range(TURN):
                started = time.thread_time()
                call()
                best[which] = min(best[which], time.thread_time() - started)
    targets.set(bound=True)
    return best[0] * 1e6, best[1] * 1e6


if __name__ == "__main__":
    json.dump(measure(sys.argv[1], *map(int, sys.argv[2:])), sys.stdout)
    sys.stdout.write("\n")
