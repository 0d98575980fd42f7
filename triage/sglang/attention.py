"""The hooks at SGLang's attention backend and at the FlashInfer call below it.

Thin: each notes where it stands, asks the traps, and goes on. Those of a layer are on
the hottest path there is, so they do without generators and without our own records.
"""

from __future__ import annotations

import importlib
from typing import Any

from triage.call import CONTEXT, DECODE, AttentionCall
from triage.sglang.hooks import Hook
from triage.traps import Traps

BACKEND = "sglang.srt.layers.attention.trtllm_mha_backend.TRTLLMHAAttnBackend"
FLASHINFER = {DECODE: "flashinfer.decode", CONTEXT: "flashinfer.prefill"}
GRAPH_ENTRIES = (
    "init_forward_metadata_out_graph",  # 0.5.13.post1 and later
    "init_forward_metadata_in_graph",  # 0.5.15.post1 and later
    "init_forward_metadata_capture_cuda_graph",  # 0.5.12.post1
    "init_forward_metadata_replay_cuda_graph",
)


class AttentionHooks:
    """The hooks of one process. Disarmed, each costs one attribute test."""

    def __init__(self, traps: Traps) -> None:
        self.traps = traps

    def hooks(self) -> list[Hook]:
        module, _, name = BACKEND.rpartition(".")
        backend = getattr(importlib.import_module(module), name)
        entries = [entry for entry in GRAPH_ENTRIES if entry in vars(backend)]
        return [
            Hook(f"{FLASHINFER[DECODE]}.{DECODE}", self.launch(DECODE), "page-table traps, decode"),
            Hook(
                f"{FLASHINFER[CONTEXT]}.{CONTEXT}",
                self.launch(CONTEXT),
                "page-table traps, prefill",
            ),
            Hook(f"{BACKEND}.__init__", self.constructed, "what a backend was built for"),
            Hook(f"{BACKEND}.init_forward_metadata", self.metadata_built, "tables are new"),
            Hook(f"{BACKEND}.forward_decode", self.entered, "layer and batch of a launch"),
            Hook(f"{BACKEND}.forward_extend", self.entered, "layer and batch of a launch"),
            *(
                Hook(f"{BACKEND}.{e}", self.graph_metadata, "graph's tables are new")
                for e in entries
            ),
        ]

    def launch(self, api: str) -> Any:
        traps = self.traps

        def launched(original: Any, *args: Any, **kwargs: Any) -> Any:
            if traps.armed:
                if args:
                    kwargs, args = {**AttentionCall.of(api, args, kwargs).arguments}, ()
                replaced = traps.replacements(api, kwargs)
                if replaced is not None:
                    kwargs.update(replaced)
            return original(*args, **kwargs)

        return launched

    def constructed(
        self, original: Any, backend: Any, model_runner: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if self.traps.armed:
            self.traps.note_backend(backend, model_runner)
        result = original(backend, model_runner, *args, **kwargs)
        if self.traps.armed:
            self.traps.watching.prepare(backend)
        return result

    def metadata_built(
        self, original: Any, backend: Any, forward_batch: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """An idle rank under data parallelism builds metadata of no rows and launches nothing."""
        if self.traps.armed:
            self.traps.forget_tables(backend, launches=forward_batch.batch_size > 0)
        return original(backend, forward_batch, *args, **kwargs)

    def graph_metadata(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        if self.traps.armed:
            self.traps.forget_tables(backend, graph=True)
        return original(backend, *args, **kwargs)

    def entered(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.traps.armed:
            return original(backend, *args, **kwargs)
        inside = self.traps.entries.inside
        layer = args[3] if len(args) > 3 else kwargs["layer"]
        forward_batch = args[4] if len(args) > 4 else kwargs["forward_batch"]
        before, inside.call = inside.call, (backend, layer, forward_batch)
        try:
            return original(backend, *args, **kwargs)
        finally:
            inside.call = before
