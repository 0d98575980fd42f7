"""A captured decode graph's inputs, padded for real: SGLang's buffers, fill and metadata entry.

A server captures graphs for a few batch sizes and replays the next larger one, so
the rows past the batch are whatever the static buffers hold. Here SGLang's own
buffers are allocated, its own fill copies a batch into them (`fill_from` of the
buffer registry, up to 0.5.12.post1 `populate_from_forward_batch`), and the
backend's own entry builds the metadata of the padded batch. Not here: recording
and replaying kernels, which needs CUDA; what is recorded from 0.5.15.post1 on
(`init_forward_metadata_in_graph`) is called again instead, over the same buffers.

Not covered: the drafts' own graph runners, whose buffers are others.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from triage.errors import LabError

if TYPE_CHECKING:
    from triage.lab.runtime import Runtime

_VOCABULARY = 8  # width of a buffer of logits that nothing here reads


@dataclass(frozen=True, slots=True)
class Padded:
    """One batch as a captured graph receives it.

    batch: SGLang's ForwardBatch over the padded buffers, what layers are called with.
    rows, tokens: of the padded batch; `real_rows`, `real_tokens` of the batch put in.
    inputs: SGLang's name -> the padded slice of its static buffer: `input_ids`,
        `positions`, `out_cache_loc` `(tokens,)`; `req_pool_indices`, `seq_lens` `(rows,)`.
    metadata: the backend's, built by its own graph entry: `page_table` and where the
        pool is hybrid `swa_page_table` `(rows, pages)`, `cache_seqlens_int32` `(rows,)`,
        `swa_out_cache_loc` `(tokens,)` from 0.5.14 on.
    padded_length: tokens that a padded row's `cache_seqlens_int32` should say.
    """

    batch: Any
    rows: int
    tokens: int
    real_rows: int
    real_tokens: int
    inputs: dict[str, Tensor]
    metadata: Any
    padded_length: int


class PaddedGraph:
    """The graph of `rows` rows over the target's backend, captured on construction.

    verify: a target verify of `runtime.draft_tokens` tokens a row instead of decode.
    Raises LabError for a verify without a draft, and for a batch that does not fit.
    """

    def __init__(self, runtime: Runtime, rows: int, *, verify: bool = False) -> None:
        from sglang.srt.model_executor.forward_batch_info import ForwardMode

        if verify and runtime.draft == "none":
            raise LabError("a verify graph needs a draft; this runtime has none")
        self.runtime, self.rows = runtime, rows
        self.width = runtime.draft_tokens if verify else 1
        self.mode = ForwardMode.TARGET_VERIFY if verify else ForwardMode.DECODE
        self.backend = runtime.target_backend
        self.fill = int(self.backend.get_cuda_graph_seq_len_fill_value())
        self.buffers = _allocate(rows, rows * self.width, self.width, self.fill)
        self.registry = _registry(self.buffers, rows, rows * self.width, self.fill)
        self.backend.init_cuda_graph_state(rows, rows * self.width)
        self.captured = self._capture()
        self.metadata = self.backend.forward_metadata

    def replay(self, forward_batch: Any) -> Padded:
        """Put `forward_batch` in and have the backend build the padded batch's metadata."""
        real = int(forward_batch.batch_size)
        if not 1 <= real <= self.rows:
            raise LabError(f"{real} rows do not fit a graph captured for {self.rows} (1 to that)")
        if forward_batch.positions is None:
            forward_batch.positions = _positions(forward_batch, self.width)
        self._fill(forward_batch, real)
        if hasattr(self.backend, "init_forward_metadata_replay_cuda_graph"):
            self.backend.init_forward_metadata_replay_cuda_graph(
                self.rows,
                self.buffers.req_pool_indices[: self.rows],
                self.buffers.seq_lens[: self.rows],
                int(forward_batch.seq_lens_sum) + (self.rows - real) * self.fill,
                None,
                self.mode,
                forward_batch.spec_info,
                seq_lens_cpu=self.buffers.seq_lens_cpu[: self.rows],
            )
        else:
            if self.runtime.backend == "triton":  # it refills what the capture's metadata views
                self.backend.forward_metadata = self.metadata
            self.backend.init_forward_metadata_out_graph(self._view(forward_batch, real))
            self.recorded(self._static(forward_batch))
        return Padded(
            batch=self._static(forward_batch),
            rows=self.rows,
            tokens=self.rows * self.width,
            real_rows=real,
            real_tokens=real * self.width,
            inputs=self._inputs(),
            metadata=self.backend.forward_metadata,
            padded_length=self.fill + (0 if self.width == 1 else self.width),
        )

    # -- capture -----------------------------------------------------------------------

    def _capture(self) -> Any:
        """The batch over the static buffers that a capture's forwards are called with."""
        from sglang.srt.model_executor.forward_batch_info import ForwardBatch

        static = self._static(
            ForwardBatch(
                forward_mode=self.mode,
                batch_size=self.rows,
                input_ids=self.buffers.input_ids,
                req_pool_indices=self.buffers.req_pool_indices,
                seq_lens=self.buffers.seq_lens,
                seq_lens_cpu=self.buffers.seq_lens_cpu,
                out_cache_loc=self.buffers.out_cache_loc,
                seq_lens_sum=self.rows * self.fill,
            )
        )
        if hasattr(self.backend, "init_forward_metadata_capture_cuda_graph"):
            self.backend.init_forward_metadata_capture_cuda_graph(
                self.rows,
                self.rows * self.width,
                static.req_pool_indices,
                static.seq_lens,
                None,
                self.mode,
                None,
            )
            return static
        self.backend.init_forward_metadata_out_graph(static, in_capture=True)
        self.recorded(static)
        return static

    def recorded(self, static: Any) -> None:
        """What the graph replays by itself: recorded on a GPU, called again here."""
        recorded = getattr(self.backend, "init_forward_metadata_in_graph", None)
        if recorded is not None:
            recorded(static)

    # -- filling -----------------------------------------------------------------------

    def _fill(self, forward_batch: Any, real: int) -> None:
        if self.registry is not None:
            self.registry.fill_from(
                forward_batch,
                raw_bs=real,
                padded_bs=self.rows,
                raw_num_tokens=real * self.width,
                padded_num_tokens=self.rows * self.width,
            )
            return
        self.buffers.populate_from_forward_batch(
            forward_batch=forward_batch,
            raw_bs=real,
            raw_num_token=real * self.width,
            bs=self.rows,
            seq_len_fill_value=self.fill,
            require_gathered_buffer=False,
            num_tokens_per_bs=self.width,
            nsa_enable_prefill_cp=False,
            enable_num_token_non_padded_flag=False,
        )

    def _inputs(self) -> dict[str, Tensor]:
        tokens = self.rows * self.width
        per_token = ("input_ids", "positions", "out_cache_loc")
        found = {name: getattr(self.buffers, name)[:tokens] for name in per_token}
        for name in ("req_pool_indices", "seq_lens"):
            found[name] = getattr(self.buffers, name)[: self.rows]
        swa = getattr(self.buffers, "out_cache_loc_swa", None)  # 0.5.12.post1
        return found if swa is None else {**found, "out_cache_loc_swa": swa[:tokens]}

    def _view(self, forward_batch: Any, real: int) -> Any:
        build = _view_builder()
        wanted = {
            "forward_batch": forward_batch,
            "buffers": self.buffers,
            "bs": self.rows,
            "raw_bs": real,
            "num_tokens": self.rows * self.width,
            "global_num_tokens_cpu": None,
            "seq_len_fill_value": self.fill,
            "capture_forward_mode": self.mode,
            "is_encoder_decoder": False,
        }
        return build(**_accepted(build, wanted))

    def _static(self, forward_batch: Any) -> Any:
        """`forward_batch` over the static buffers, as the captured forward sees it."""
        static = copy.copy(forward_batch)
        for name, tensor in self._inputs().items():
            setattr(static, name, tensor)
        static.batch_size = self.rows
        static.seq_lens_cpu = self.buffers.seq_lens_cpu[: self.rows]
        static.seq_lens_sum = int(static.seq_lens_cpu.sum())
        static.forward_mode = self.mode
        static.req_to_token_pool = self.runtime.req_to_token_pool
        static.token_to_kv_pool = self.runtime.token_to_kv_pool
        static.attn_backend = self.backend
        return static


def _positions(forward_batch: Any, width: int) -> Tensor:
    """SGLang's positions: of the newest token in decode, of each draft token in verify."""
    lengths = forward_batch.seq_lens.to(torch.int64)
    if width == 1:
        return (lengths - 1).clamp(min=0)
    return (lengths[:, None] + torch.arange(width)).reshape(-1)


def _runner_module() -> Any:
    try:
        from sglang.srt.model_executor.runner import decode_cuda_graph_runner as module
    except ImportError:  # up to 0.5.13.post1
        from sglang.srt.model_executor import cuda_graph_runner as module
    return module


def _view_builder() -> Any:
    return _runner_module().build_replay_fb_view


def _allocate(rows: int, tokens: int, width: int, fill: int) -> Any:
    """SGLang's static buffers; sizes and switches of one GPU without parallelism."""
    module = _runner_module()
    # 0.5.13.post1 has a function in place of the class.
    create = getattr(module, "_allocate_decode_buffers", None)
    if create is None:
        create = module.DecodeInputBuffers.create
    wanted = {
        "device": torch.device("cpu"),
        "max_bs": rows,
        "max_num_token": tokens,
        "hidden_size": 1,
        "vocab_size": _VOCABULARY,
        "next_token_logits_buffer": torch.zeros(tokens, _VOCABULARY),
        "dtype": torch.float16,
        "dp_size": 1,
        "num_dp_ranks": 1,
        "pp_size": 1,
        "is_encoder_decoder": False,
        "require_mlp_tp_gather": False,
        "seq_len_fill_value": fill,
        "encoder_len_fill_value": 0,
        "num_tokens_per_bs": width,
        "num_tokens_per_req": width,
        "cache_loc_dtype": torch.int64,
        "enable_mamba_track": False,
        "is_hybrid_swa": True,
    }
    return create(**_accepted(create, wanted))


def _registry(buffers: Any, rows: int, tokens: int, fill: int) -> Any:
    """The registry that adopts the buffers; None on 0.5.12.post1, which fills by a method."""
    try:
        from sglang.srt.model_executor.cuda_graph_buffer_registry import build_decode_registry
    except ImportError:
        return None
    return build_decode_registry(
        device=torch.device("cpu"),
        max_bs=rows,
        max_num_token=tokens,
        seq_len_fill_value=fill,
        cache_loc_dtype=torch.int64,
        source=buffers,
    )


def _accepted(function: Any, candidates: dict[str, Any]) -> dict[str, Any]:
    names = inspect.signature(function).parameters
    return {key: value for key, value in candidates.items() if key in names}
