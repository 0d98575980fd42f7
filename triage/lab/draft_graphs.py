"""SGLang's graph runners of drafts, replayed on a CPU: their own buffers, fill and padding.

A runner is made without its constructor, which captures on a GPU, and given what its replay
reads: SGLang's own dataclass of buffers, the bucket sizes, widths. Its `replay` or `execute`
then runs as released, up to the graph itself.

Stubs, below the missing hardware: the recorded graph (returns empty outputs), the metadata
of its attention backend (other tests build it), DeepEP's adapter, device events, timers.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from triage.errors import LabError
from triage.lab.runtime import Runtime

KINDS = ("draft", "extend", "frozen")
BUCKETS = (1, 2, 4, 8)
VOCABULARY, HIDDEN = 64, 4

_MODULES = {
    "draft": ("eagle_draft_cuda_graph_runner", "EAGLEDraftCudaGraphRunner"),
    "extend": ("eagle_draft_extend_cuda_graph_runner", "EAGLEDraftExtendCudaGraphRunner"),
    "frozen": ("frozen_kv_mtp_cuda_graph_runner", "FrozenKVMTPCudaGraphRunner"),
}
_BUFFERS = {
    "draft": "EagleDraftInputBuffers",
    "extend": "EagleDraftExtendInputBuffers",
    "frozen": "FrozenKVMTPInputBuffers",
}


class DraftGraph:
    """One runner of `kind` over the request table of `runtime`.

    width: tokens a request has in a replay: the draft tokens for "extend", else 1.
    replayed: called instead of the graph, when every buffer is filled.
    requests: real ones of the newest replay.
    before: name -> what the buffer held when the newest replay was entered.
    """

    def __init__(
        self, runtime: Runtime, kind: str, replayed: Callable[[Any], None] = lambda _: None
    ) -> None:
        if kind not in KINDS:
            raise LabError(f"no draft runner {kind!r}; known: {', '.join(KINDS)}")
        self.runtime, self.kind, self.replayed = runtime, kind, replayed
        self.width = runtime.draft_tokens if kind == "extend" else 1
        self.before: dict[str, Tensor] = {}
        self.requests = 0
        self.runner = self._runner()

    def replay(self, rows: Tensor, lengths: Tensor, draw: torch.Generator) -> None:
        """A forward of these requests; slots, tokens and accepted counts are drawn.

        rows, lengths: `(requests,)`, int64: rows of the request table, tokens before the step.
        """
        batch = self._batch(rows, lengths, draw)
        self.requests = len(rows)
        self.before = {
            name: tensor.clone()
            for name, tensor in vars(self.runner.buffers).items()
            if isinstance(tensor, Tensor)
        }
        enter = getattr(self.runner, "execute", None) or self.runner.replay
        if "select_index" in inspect.signature(enter).parameters:  # an extend's, from 0.5.23
            enter(batch, torch.zeros(len(rows), dtype=torch.int64))
        else:
            enter(batch)

    @property
    def bucket(self) -> int:
        """Requests that the newest replay is padded to."""
        return next(size for size in BUCKETS if size >= self.requests)

    def filled(self) -> None:
        """The runner has filled its buffers, and metadata is built next. A defect goes here."""

    # -- what SGLang's constructor would make ----------------------------------------------

    def _runner(self) -> Any:
        module_name, name = _MODULES[self.kind]
        module = importlib.import_module(f"sglang.srt.speculative.{module_name}")
        runner: Any = object.__new__(getattr(module, name))
        width, steps = self.width, self.runtime.draft_steps
        attention = SimpleNamespace(
            init_forward_metadata_out_graph=lambda *_, **__: self.filled(),
            init_forward_metadata_replay_cuda_graph=lambda *_, **__: self.filled(),
            shared_read_ends=lambda *_: None,
        )
        model = SimpleNamespace(
            model_config=SimpleNamespace(vocab_size=VOCABULARY, model_is_mrope=False),
            device_timer=None,
            server_args=SimpleNamespace(speculative_use_rejection_sampling=False),
            spec_algorithm=SimpleNamespace(is_eagle=lambda: True, is_standalone=lambda: False),
            token_to_kv_pool=self.runtime.draft_pool,
        )
        for key, value in {
            "buffers": self._buffers(module),
            "deepep_adapter": SimpleNamespace(replay=lambda *_: None),
            "captured_req_width": width,
            "num_tokens_per_bs": width,
            "topk": 1,
            "speculative_num_steps": steps,
            "require_mlp_tp_gather": False,
            "require_gathered_buffer": False,
            "capture_bs": list(BUCKETS),
            "seq_len_fill_value": 1,
            "extend_seq_lens_cpu": [width] * BUCKETS[-1],
            "forward_mode": _extend_mode(),
            "draft_attn_backend": attention,
            "draft_extend_attn_backend": attention,
            "model_runner": model,
            "device_module": SimpleNamespace(Event=lambda: SimpleNamespace(record=lambda: None)),
            "eagle_worker": SimpleNamespace(),
            "frozen_kv_mtp_worker": SimpleNamespace(
                _init_frozen_kv_metadata_replay_cuda_graph=lambda *_: self.filled()
            ),
            "backend": SimpleNamespace(replay=lambda *_: self._graph()),
            "graphs": {size: SimpleNamespace(replay=self._graph) for size in BUCKETS},
            "output_buffers": {size: _outputs(self.kind) for size in BUCKETS},
        }.items():
            setattr(runner, key, value)
        runner.model_context = nullcontext  # 0.5.23: the model's own settings
        return runner

    def _graph(self) -> Any:
        self.replayed(self.runner)
        return _outputs(self.kind)

    def _buffers(self, module: Any) -> Any:
        """SGLang's dataclass; a buffer it does not know how to leave out stays None."""
        kind = getattr(module, _BUFFERS[self.kind])
        requests, tokens = BUCKETS[-1], BUCKETS[-1] * self.width
        slots = tokens * (self.runtime.draft_steps if self.kind == "draft" else 1)
        long, narrow = torch.int64, torch.int32
        known = {
            "input_ids": torch.zeros(tokens, dtype=long),
            "req_pool_indices": torch.zeros(requests, dtype=long),
            "out_cache_loc": torch.zeros(slots, dtype=long),
            "positions": torch.zeros(tokens, dtype=long),
            "mrope_positions": torch.zeros(3, tokens, dtype=long),
            "seq_lens": torch.ones(requests, dtype=long),
            "seq_lens_cpu": torch.ones(requests, dtype=long),
            "extend_seq_lens": torch.ones(requests, dtype=narrow),
            "num_correct_drafts": torch.ones(requests, dtype=narrow),
            "num_accept_tokens": torch.ones(requests, dtype=narrow),
            "select_index": torch.zeros(requests, dtype=long),
            "topk_p": torch.zeros(requests, 1),
            "topk_index": torch.zeros(requests, 1, dtype=long),
            "bonus_tokens": torch.zeros(requests, dtype=long),
            "hidden_states": torch.zeros(tokens if self.kind == "extend" else requests, HIDDEN),
        }
        names = [field.name for field in dataclasses.fields(kind)]
        return kind(**{name: known.get(name) for name in names})

    def _batch(self, rows: Tensor, lengths: Tensor, draw: torch.Generator) -> Any:
        requests, tokens = len(rows), len(rows) * self.width
        slots = tokens * (self.runtime.draft_steps if self.kind == "draft" else 1)
        page, size = int(self.runtime.draft_pool.page_size), int(self.runtime.draft_pool.size)

        def drawn(low: int, high: int, *shape: int) -> Tensor:
            return torch.randint(low, high, shape, generator=draw)

        accepted = drawn(1, self.width + 1, requests).to(torch.int32)
        spec = SimpleNamespace(
            topk_p=torch.rand(requests, 1, generator=draw),
            topk_index=drawn(0, VOCABULARY, requests, 1),
            hidden_states=torch.rand(
                tokens if self.kind == "extend" else requests, HIDDEN, generator=draw
            ),
            bonus_tokens=drawn(0, VOCABULARY, requests),
            num_accept_tokens=accepted,
            num_correct_drafts=accepted - 1,
            num_tokens_per_req=self.width,
            draft_probs=None,
            dsa_topk_indices=None,
        )
        steps = torch.arange(self.width)
        return SimpleNamespace(
            batch_size=requests,
            input_ids=drawn(0, VOCABULARY, tokens),
            req_pool_indices=rows.clone(),
            seq_lens=lengths.clone(),
            seq_lens_cpu=lengths.clone(),
            seq_lens_sum=int(lengths.sum()),
            positions=(lengths[:, None] + steps).reshape(-1),
            mrope_positions=None,
            out_cache_loc=drawn(page, page + size, slots),
            out_cache_loc_virtual=None,
            kv_loc_plan=None,
            kv_loc_cols=None,
            mamba_track_indices=None,
            extend_seq_lens=None,
            extend_seq_lens_cpu=None,
            rids_int=None,
            bootstrap_room_ids_int=None,
            sampling_info=None,
            global_num_tokens_cpu=None,
            spec_info=spec,
        )


def _outputs(kind: str) -> Any:
    if kind != "extend":
        return tuple(torch.zeros(BUCKETS[-1], 1) for _ in range(3)) + (
            (None,) if kind == "draft" and _has_probabilities() else ()
        )
    tokens = torch.zeros(64, 1)
    return SimpleNamespace(
        next_token_logits=tokens, hidden_states=tokens, topk_p=tokens, topk_index=tokens
    )


def _has_probabilities() -> bool:
    """From 0.5.15.post1 a draft's graph returns its probabilities as well."""
    from sglang.srt.speculative.eagle_draft_cuda_graph_runner import EAGLEDraftCudaGraphRunner

    return "draft_probs" in inspect.getsource(
        EAGLEDraftCudaGraphRunner._postprocess_output_to_raw_bs
    )


def _extend_mode() -> Any:
    from sglang.srt.model_executor.forward_batch_info import ForwardMode

    return ForwardMode.DRAFT_EXTEND_V2
