"""SGLang's attention backends, constructed for real around a model that was never loaded.

What a constructor reads of its model runner is a namespace; the FlashInfer
wrapper classes it builds are inert, because trtllm_mha never calls them. From
0.5.23 a runner owns an index translator, which is SGLang's own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Protocol

import torch

from triage.lab.fp8 import stand_in_store
from triage.lab.geometry import Geometry
from triage.lab.settings import Published

_WRAPPERS = (
    "BatchPrefillWithRaggedKVCacheWrapper",
    "BatchPrefillWithPagedKVCacheWrapper",
    "BatchDecodeWithPagedKVCacheWrapper",
    "FlashInferIndicesUpdaterPrefill",
    "FlashInferIndicesUpdaterDecode",
)


class Memory(Protocol):
    """What a model runner shares with the process around it: `triage/lab/runtime.py` has it."""

    geometry: Geometry
    dtype: Any
    published: Published
    req_to_token_pool: Any
    token_to_kv_pool_allocator: Any


class _Inert:
    """Stands for a FlashInfer wrapper: constructed by SGLang, never called by trtllm_mha."""

    def __init__(self, *_: Any, **__: Any) -> None: ...


def model_runner(
    memory: Memory, pool: Any, *, is_draft: bool, algorithm: str, window: int | None
) -> Any:
    """The attributes of a ModelRunner that the backends read, for the KV pool `pool`.

    window: tokens a query sees, itself included; None for a model without one.
    """
    from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

    g = memory.geometry
    runner = SimpleNamespace(
        model_config=SimpleNamespace(
            num_attention_heads=g.num_heads,
            hidden_size=g.num_heads * g.head_dim,
            head_dim=g.head_dim,
            v_head_dim=g.head_dim,
            context_len=g.context_len,
            is_multimodal=False,
            is_encoder_decoder=False,
            hf_config=SimpleNamespace(architectures=["Gemma4ForConditionalGeneration"]),
            get_num_kv_heads=lambda *_: g.num_heads,
            get_max_num_attention_heads=lambda *_: g.num_heads,
        ),
        server_args=memory.published.server_args,
        req_to_token_pool=memory.req_to_token_pool,
        token_to_kv_pool=pool,
        token_to_kv_pool_allocator=memory.token_to_kv_pool_allocator,
        kv_cache_dtype=memory.dtype,
        dtype=torch.float16,
        page_size=g.page_size,
        device="cpu",
        sliding_window_size=None if window is None else window - 1,
        is_draft_worker=is_draft,
        spec_algorithm=SpeculativeAlgorithm.from_string(algorithm),
        prefill_attention_backend_str="trtllm_mha",
        decode_attention_backend_str="trtllm_mha",
        max_running_requests=g.max_requests,
        model=torch.nn.Identity(),
    )
    _add_index_translator(runner)
    return runner


def trtllm_mha(runner: Any) -> Any:
    _replace_what_needs_a_gpu()
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    if runner.kv_cache_dtype is torch.float8_e4m3fn:
        stand_in_store()
    return TRTLLMHAAttnBackend(runner)


def trtllm_mha_multi_step(runner: Any, draft_steps: int) -> Any:
    """The backend of an EAGLE draft: one per step, each a token further."""
    _replace_what_needs_a_gpu()
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnMultiStepDraftBackend

    return TRTLLMHAAttnMultiStepDraftBackend(runner, 1, draft_steps)


def bind_index_plan(backend: Any, forward_batch: Any) -> None:
    """What ForwardBatch.init_new does last from 0.5.23 on: plan the batch's slot ids."""
    translator = getattr(backend, "kv_index_translator", None)
    if translator is not None:
        translator.bind_own_plan(forward_batch)


def _add_index_translator(runner: Any) -> None:
    try:
        from sglang.srt.mem_cache.kv_index_translator import KVIndexTranslator
    except ImportError:
        return
    runner.kv_index_translator = KVIndexTranslator(
        req_to_token=runner.req_to_token_pool.req_to_token,
        token_to_kv_pool_allocator=runner.token_to_kv_pool_allocator,
        token_to_kv_pool=runner.token_to_kv_pool,
        page_size=runner.page_size,
        device=runner.device,
        is_draft_worker=runner.is_draft_worker,
    )


_released: dict[str, Any] = {}


def released_names() -> dict[str, Any]:
    """SGLang's own index updaters of FlashInfer, which trtllm_mha's stand-ins have replaced."""
    from sglang.srt.layers.attention import flashinfer_backend

    for name in ("FlashInferIndicesUpdaterPrefill", "FlashInferIndicesUpdaterDecode"):
        _released.setdefault(name, getattr(flashinfer_backend, name))
    return _released


def _replace_what_needs_a_gpu() -> None:
    from sglang.srt.layers.attention import flashinfer_backend, trtllm_mla_backend

    released_names()
    for name in _WRAPPERS:
        setattr(flashinfer_backend, name, _Inert)
    flashinfer_backend.should_use_tensor_core = lambda *_, **__: False
    flashinfer_backend.get_attention_tp_size = lambda: 1
    if hasattr(trtllm_mla_backend, "_multi_ctas_kv_counter_bytes"):
        trtllm_mla_backend._multi_ctas_kv_counter_bytes = lambda *_, **__: 1024
