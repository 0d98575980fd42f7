"""SGLang's Triton, FA3 and FlashInfer backends on a CPU: constructors and metadata, no kernels.

What runs is SGLang's: `__init__`, `init_forward_metadata`, the write of keys and
values, and `forward_decode` / `forward_extend` down to the kernel they call. That
call ends in a stand-in, which computes no attention and hands what the kernel
would have read to a sink, as it was passed. FA3's kernels come from `sgl_kernel`,
a compiled package without a CPU build, so a module of that name stands in its place.
"""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from triage.lab.fa2 import fa2
from triage.lab.kernel_reads import PageTableRead, Sink, SlotRead

REPLACED = {
    "triton": (
        "decode_attention_fwd, extend_attention_fwd of the Triton backend: read by the lab",
        "ModelRunner: a namespace with the attributes the backends read",
        "EagleVerifyInput, EagleDraftInput: a namespace with the attributes the builder reads",
        "scheduler loop, Req and sampling: driven by hand in triage/lab/drivers/pools.py",
    ),
    "fa3": (
        "sgl_kernel (flash_attn_with_kvcache, flash_attn_varlen_func): read by the lab",
        "get_scheduler_metadata, merge_state_v2 of sgl_kernel: not needed, None",
        "ModelRunner: a namespace with the attributes the backends read",
        "EagleVerifyInput, EagleDraftInput: a namespace with the attributes the builder reads",
        "scheduler loop, Req and sampling: driven by hand in triage/lab/drivers/pools.py",
    ),
    "flashinfer": (
        "FlashInfer's decode and paged prefill wrappers: keep what they were planned with, and "
        "their runs are read by the lab",
        "FlashInfer's ragged prefill wrapper, merge_state: not needed, None",
        "torch.empty in the backend's module: a device named cuda is the CPU",
        "ModelRunner: a namespace with the attributes the backends read",
        "scheduler loop, Req and sampling: driven by hand in triage/lab/drivers/pools.py",
    ),
}


def attention(kind: str, runner: Any, sink: Sink) -> Any:
    """SGLang's backend called `kind` over `runner`; every kernel call goes to `sink`."""
    _complete(runner)
    if kind == "triton":
        _one_rank()
        from sglang.srt.layers.attention.triton_backend import TritonAttnBackend

        return _triton_kernels(TritonAttnBackend(runner), sink)
    if kind == "flashinfer":
        return fa2(runner, sink)
    stand_in_sgl_kernel()
    from sglang.srt.layers.attention.flashattention_backend import FlashAttentionBackend

    return _fa3_kernels(FlashAttentionBackend(runner), sink)


def multi_step(kind: str, runner: Any, draft_steps: int, sink: Sink) -> Any:
    """The backend of an EAGLE draft: one per step, each a token further."""
    _complete(runner)
    if kind == "triton":
        _one_rank()
        from sglang.srt.layers.attention.triton_backend import TritonMultiStepDraftBackend

        multi = TritonMultiStepDraftBackend(runner, 1, draft_steps)
        wrap = _triton_kernels
    else:
        stand_in_sgl_kernel()
        from sglang.srt.layers.attention.flashattention_backend import (
            FlashAttentionMultiStepBackend,
        )

        multi = FlashAttentionMultiStepBackend(runner, 1, draft_steps)
        wrap = _fa3_kernels
    for backend in multi.attn_backends:
        wrap(backend, sink)
    return multi


def _triton_kernels(backend: Any, sink: Sink) -> Any:
    def decode(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        o: Tensor,
        indptr: Tensor,
        indices: Tensor,
        *_: Any,
        **__: Any,
    ) -> None:
        sink(SlotRead(k, indptr, indices, indices is backend.forward_metadata.window_kv_indices))

    def extend(*args: Any, **__: Any) -> None:
        k_buffer, indptr, indices = args[4], args[7], args[8]
        window = indices is backend.forward_metadata.window_kv_indices
        sink(SlotRead(k_buffer, indptr, indices, window))

    backend.decode_attention_fwd = decode
    backend.extend_attention_fwd = extend
    return backend


def _fa3_kernels(backend: Any, sink: Sink) -> Any:
    def attend(**passed: Any) -> Tensor:
        queries = passed["cu_seqlens_q"]
        if queries is None:
            queries = torch.arange(len(passed["cache_seqlens"]) + 1, dtype=torch.int32)
        sink(
            PageTableRead(
                passed["k_cache"],
                passed["page_table"],
                passed["cache_seqlens"],
                queries,
                int(passed["window_size"][0]),
            )
        )
        return torch.zeros_like(passed["q"])

    from sglang.srt.layers.attention import flashattention_backend

    # The names the module has imported: wrappers that ask for an sm_90 first.
    flashattention_backend.flash_attn_with_kvcache = attend
    flashattention_backend.flash_attn_varlen_func = attend
    return backend


def stand_in_sgl_kernel() -> None:
    """A module named sgl_kernel, where none can be installed; no other name is given."""
    if "sgl_kernel" in sys.modules:
        return

    def unused(*_: Any, **__: Any) -> None:
        """Imported by the backend and not called: the kernels, a tile schedule, a merge."""

    root = types.ModuleType("sgl_kernel", stand_in_sgl_kernel.__doc__)
    flash = types.ModuleType("sgl_kernel.flash_attn", stand_in_sgl_kernel.__doc__)
    root.__path__ = []
    root.__spec__ = ModuleSpec("sgl_kernel", None, is_package=True)  # who asks whether it is here
    root.merge_state_v2 = unused  # type: ignore[attr-defined]
    root.flash_attn = flash  # type: ignore[attr-defined]
    flash.flash_attn_with_kvcache = unused  # type: ignore[attr-defined]
    flash.flash_attn_varlen_func = unused  # type: ignore[attr-defined]
    flash.get_scheduler_metadata = unused  # type: ignore[attr-defined]
    sys.modules["sgl_kernel"], sys.modules["sgl_kernel.flash_attn"] = root, flash


def _one_rank() -> None:
    """Up to 0.5.13.post1 the size of the attention group is asked of torch.distributed."""
    from sglang.srt.layers.attention import triton_backend

    if hasattr(triton_backend, "get_attention_tp_size"):
        triton_backend.get_attention_tp_size = lambda: 1


def _complete(runner: Any) -> None:
    """What these two read of a ModelRunner beside what trtllm_mha does."""
    from sglang.srt.configs.model_config import AttentionArch

    config = runner.model_config
    config.attention_arch = AttentionArch.MHA
    config.swa_v_head_dim = config.v_head_dim
    config.is_local_attention_model = False
    config.hf_text_config = SimpleNamespace(
        num_attention_heads=config.num_attention_heads, attn_logit_softcapping=None
    )
    config.linear_attn_registry_result = config.linear_attn_model_spec = None
    config.hf_config.get_text_config = lambda: SimpleNamespace()
    runner.kv_cache_dtype_str = "auto"
    runner.gpu_id = 0
    runner.tp_size = runner.attn_cp_size = 1
    runner.ps = SimpleNamespace(tp_size=1, attn_cp_size=1)
    runner.hybrid_gdn_config = runner.kimi_linear_config = runner.mambaish_config = None
    runner.linear_attn_model_spec = None
    tokens = runner.server_args.speculative_num_draft_tokens or 1
    runner.decode_num_tokens_per_req = lambda: tokens
