"""Captures a draft's graph with SGLang's own runner or backends and says what was recorded when.

    python -m tests.sglang.capture_child KIND[,KIND] DIRECTORY MODE [DEFECT [FIX]]

KIND is frozen, multi-step, decode or verify; the last two are the target's. Inside the capture
a read of the device by our code raises.

Stubs, below the missing hardware: the capture itself (`torch.cuda.CUDAGraph` and SGLang's
graph backend: two warm-ups, then once with the predicate of `triage/device/capture.py` true),
the FlashInfer call, FlashInfer's autotuning, the draft worker (its module needs a server's
dependencies) and the models. SGLang's own are `FrozenKVMTPCudaGraphRunner.
capture_one_shape` without its constructor, the two frozen-KV views,
`TRTLLMHAAttnMultiStepDraftBackend`, `TRTLLMHAAttnBackend`, pools and metadata kernels.

Long because each kind of graph needs what SGLang keeps beside it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.errors import TrapError
from triage.lab.pretended_capture import pretended_capture
from triage.lab.process import start

BATCH = 2


class Log:
    """What happened, in order: refills, checks and attention, each with the tables' addresses."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.writes: Counter[str] = Counter()
        self.capturing = False
        self.backend: Any = None

    def add(self, kind: str, **more: Any) -> None:
        self.events.append({"kind": kind, "captured": self.capturing, **more})

    def launch(self, call: Any) -> Any:
        import torch

        metadata = self.backend().forward_metadata
        swa = metadata.swa_page_table
        self.add(
            "attention",
            given=call.arguments["block_tables"].data_ptr(),
            window=call.arguments["window_left"],
            full=metadata.page_table.data_ptr(),
            swa=None if swa is None else swa.data_ptr(),
        )
        return torch.zeros_like(call.arguments["query"])

    def capture(self, run_once: Any) -> None:
        """Stands for a CUDA graph: SGLang's two warm-ups, then the run that is recorded."""
        run_once()
        run_once()
        self.capturing = True
        try:
            with pretended_capture():
                run_once()
        finally:
            self.capturing = False

    def listen(self) -> None:
        from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

        import triage.device.capture
        from triage.device.checker import DeviceChecker
        from triage.lab.patching import replaced

        triage.device.capture.capturing = lambda: self.capturing

        def refilled(original: Any) -> Any:
            def around(backend: Any, *args: Any, **kwargs: Any) -> Any:
                result = original(backend, *args, **kwargs)
                self.add("refill")
                return result

            return around

        def checked(original: Any) -> Any:
            def around(checker: Any, table: Any, *args: Any, **kwargs: Any) -> Any:
                facts = self.facts(kwargs["tag"])
                self.add(
                    "check",
                    table=table.data_ptr(),
                    safe=kwargs["safe"].table.data_ptr(),
                    stale=facts.get("stale", ""),
                    graph=facts["graph"],
                )
                return original(checker, table, *args, **kwargs)

            return around

        def written(original: Any) -> Any:
            def around(*args: Any, **kwargs: Any) -> Any:
                self.writes["captured" if self.capturing else "warm-up"] += 1
                return original(*args, **kwargs)

            return around

        self.held = [
            replaced(DeviceChecker, "check_writes", written),
            replaced(TRTLLMHAAttnBackend, "_apply_cuda_graph_metadata", refilled),
            replaced(DeviceChecker, "check_table", checked),
        ]
        for each in self.held:
            each.__enter__()

    def facts(self, tag: int) -> dict[str, Any]:
        from triage.sglang.install import state

        return state().traps.launches.watching.watch.facts_of(tag)


def frozen(runtime: Any, log: Log, recorded_in_view: bool = True) -> None:
    import torch
    from sglang.srt.speculative import frozen_kv_mtp_cuda_graph_runner as module
    from sglang.srt.speculative import frozen_kv_mtp_utils as views

    backend, context = runtime.draft_backend, runtime.kv_context
    log.backend = lambda: backend
    rows = torch.zeros(BATCH, 1, 8, dtype=torch.float16)

    def draft_forward(forward_batch: Any) -> None:
        for _ in range(runtime.draft_steps):
            with views.target_kv_pool_view(forward_batch, context, backend):
                for layer in runtime.draft_attention:
                    backend.forward_decode(
                        rows, None, None, layer, forward_batch, save_kv_cache=False
                    )

    def metadata(forward_batch: Any) -> None:
        with views.frozen_kv_target_view(forward_batch, context, backend):
            backend.init_forward_metadata_out_graph(forward_batch, in_capture=True)

    worker = SimpleNamespace(
        kv_context=context,
        draft_attn_backend=backend,
        draft_forward=draft_forward,
        _init_frozen_kv_metadata_capture_cuda_graph=metadata,
        _frozen_kv_target_view=lambda fb: (
            views.frozen_kv_target_view(fb, context, backend) if recorded_in_view else nullcontext()
        ),
    )
    backend.init_cuda_graph_state(BATCH, BATCH)  # as the runner's constructor does
    runner = object.__new__(module.FrozenKVMTPCudaGraphRunner)
    for name, value in {
        "frozen_kv_mtp_worker": worker,
        "draft_attn_backend": backend,
        "model_runner": SimpleNamespace(
            spec_algorithm=None, kv_index_translator=getattr(backend, "kv_index_translator", None)
        ),
        "captured_req_width": 1,
        "num_tokens_per_bs": 1,
        "topk": 1,
        "require_mlp_tp_gather": False,
        "require_attn_tp_gather": False,
        "deepep_adapter": SimpleNamespace(capture=lambda **_: None),
        "backend": SimpleNamespace(capture_one=lambda key, run_once, **_: log.capture(run_once)),
        "buffers": SimpleNamespace(
            req_pool_indices=torch.zeros(BATCH, dtype=torch.int64),
            positions=torch.zeros(BATCH, dtype=torch.int64),
            mrope_positions=torch.zeros(3, BATCH, dtype=torch.int64),
            seq_lens=torch.ones(BATCH, dtype=torch.int64),
            seq_lens_cpu=torch.ones(BATCH, dtype=torch.int64),
            topk_p=torch.zeros(BATCH, 1),
            topk_index=torch.zeros(BATCH, 1, dtype=torch.int64),
            hidden_states=torch.zeros(BATCH, 8),
            bonus_tokens=torch.zeros(BATCH, dtype=torch.int64),
        ),
    }.items():
        setattr(runner, name, value)
    for name in ("maybe_flashinfer_autotune_speculative_draft", "set_dp_buffer_len"):
        if hasattr(module, name):
            setattr(module, name, lambda *_, **__: None)
    module.set_is_extend_in_batch = lambda *_: None
    runner.capture_one_shape(BATCH, None)


def multi_step(runtime: Any, log: Log) -> None:
    import torch
    from sglang.srt.model_executor.forward_batch_info import ForwardBatch, ForwardMode
    from sglang.srt.speculative.eagle_info import EagleDraftInput

    multi = runtime.draft_backend
    multi.init_cuda_graph_state(BATCH, BATCH)
    current: list[Any] = []
    log.backend = lambda: current[-1]
    batch = ForwardBatch(
        forward_mode=ForwardMode.DECODE,
        batch_size=BATCH,
        input_ids=torch.zeros(BATCH, dtype=torch.int64),
        req_pool_indices=torch.zeros(BATCH, dtype=torch.int64),
        seq_lens=torch.ones(BATCH, dtype=torch.int64),
        out_cache_loc=torch.zeros(BATCH, dtype=torch.int64),
        seq_lens_sum=BATCH,
        positions=torch.zeros(BATCH, dtype=torch.int64),
        spec_info=EagleDraftInput(),
    )
    rows = torch.zeros(BATCH, 1, 8, dtype=torch.float16)

    def run_once() -> None:
        if hasattr(type(multi.attn_backends[0]), "init_forward_metadata_in_graph"):
            multi.init_forward_metadata_in_graph(batch)
        for backend in multi.attn_backends[: runtime.draft_steps - 1]:
            current.append(backend)
            for layer in runtime.draft_attention:
                backend.forward_decode(rows, rows, rows, layer, batch)

    multi.init_forward_metadata_out_graph(batch, in_capture=True)
    log.capture(run_once)


def target(runtime: Any, log: Log, *, verify: bool) -> None:
    """The target's decode or verify, its metadata by the backend's own graph entries."""
    import torch

    from triage.lab.graph import PaddedGraph

    log.backend = lambda: runtime.target_backend
    padded = PaddedGraph(runtime, BATCH, verify=verify)
    batch = padded.captured
    rows = torch.zeros(padded.width * BATCH, 1, 8, dtype=torch.float16)
    backend = runtime.target_backend
    forward = backend.forward_extend if verify else backend.forward_decode

    def run_once() -> None:
        padded.recorded(batch)
        for index, layer in enumerate(runtime.layers):
            kv = rows if index < runtime.geometry.own_kv_layers else None
            forward(rows, kv, kv, layer, batch, save_kv_cache=kv is not None)

    log.capture(run_once)


def decode(runtime: Any, log: Log) -> None:
    target(runtime, log, verify=False)


def verify(runtime: Any, log: Log) -> None:
    target(runtime, log, verify=True)


def left_view(runtime: Any, log: Log) -> None:
    """A frozen draft whose metadata are recorded outside of its view."""
    frozen(runtime, log, recorded_in_view=False)


PLAYED = {
    "left-view": left_view,
    "frozen": frozen,
    "multi-step": multi_step,
    "decode": decode,
    "verify": verify,
}
DRAFTS = {"multi-step": "eagle", "decode": "none"}


def main() -> None:
    kinds, directory, mode, *rest = sys.argv[1:]
    fixes = tuple(rest[1:2])
    process = start(
        traps=True,
        fixes=fixes,
        directory=Path(directory),
        mode=mode,
        reinject=rest[0] if rest else None,
    )
    from triage.lab.runtime import Runtime
    from triage.lab.scenarios import find

    log = process.gpu = Log()
    log.listen()
    found = {}
    for kind in kinds.split(","):
        process.arm(traps=True, fixes=fixes, directory=Path(directory))
        draft = DRAFTS.get(kind, "frozen")
        runtime = Runtime(find("smoke").geometry, draft_tokens=4, draft_steps=3, draft=draft)
        log.events, log.writes = [], Counter()
        alarm = None
        try:
            PLAYED[kind](runtime, log)
        except TrapError as error:
            alarm = error.evidence
        runtime.close()
        found[kind] = {
            "sglang": process.version,
            "events": log.events,
            "writes": log.writes,
            "alarm": alarm and (alarm.invariant, alarm.found, alarm.summary),
            "counts": dict(process.traps.counts),
            "fixes": {name: fix.uses for name, fix in process.fixes.items()},
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
