"""Real SGLang pools, allocator and attention backends around a model that was never loaded.

Replaced, because they need a GPU or a checkpoint, and named in every report:
the model runner (a namespace with the attributes the constructors read), the
FlashInfer wrapper classes that `FlashInferAttnBackend.__init__` builds and the
trtllm_mha backend never calls, and the CUDA device count behind one counter
buffer. Everything else runs as released.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

REPLACED = (
    "flashinfer.decode.trtllm_batch_decode_with_kv_cache: address emulator",
    "flashinfer.prefill.trtllm_batch_context_with_kv_cache: address emulator",
    "ModelRunner: a namespace with the attributes the backends read",
    "FlashInfer wrapper and index-updater classes built by FlashInferAttnBackend.__init__: inert",
    "_multi_ctas_kv_counter_bytes: a constant, it asks CUDA for the number of SMs",
    "scheduler loop, Req and sampling: driven by hand in triage/lab/drive.py",
)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of the served model and its pools. Sizes in slots unless the name says otherwise."""

    page_size: int
    swa_pages: int
    full_pages: int
    window: int
    num_layers: int
    full_every: int
    kv_shared_layers: int
    context_len: int
    max_requests: int
    num_heads: int = 1
    head_dim: int = 8

    @property
    def layer_kinds(self) -> tuple[bool, ...]:
        """Per layer: does it slide? Every `full_every`-th layer is full."""
        return tuple((index + 1) % self.full_every != 0 for index in range(self.num_layers))

    @property
    def own_kv_layers(self) -> int:
        return self.num_layers - self.kv_shared_layers

    def kv_layer(self, index: int) -> int:
        """The layer whose KV layer `index` reads: itself, or the last owner of its kind."""
        if index < self.own_kv_layers:
            return index
        kinds = self.layer_kinds
        return max(i for i in range(self.own_kv_layers) if kinds[i] == kinds[index])

    @property
    def draft_layers(self) -> tuple[int, ...]:
        """Target layers that the four-layer assistant reads: three sliding, one full."""
        kinds = self.layer_kinds
        swa = max(i for i in range(self.own_kv_layers) if kinds[i])
        full = max(i for i in range(self.own_kv_layers) if not kinds[i])
        return (swa, swa, swa, full)


class Runtime:
    """The memory side of one serving process, target and frozen-KV draft.

    Attributes carry SGLang's names: `req_to_token_pool`, `token_to_kv_pool`
    (the target's SWAKVPool), `token_to_kv_pool_allocator`, `target_backend`,
    `draft_backend`, `kv_context`, `layers` (RadixAttention by layer id).
    """

    def __init__(self, geometry: Geometry, *, draft_tokens: int, draft_steps: int) -> None:
        import torch
        from sglang.srt.layers.radix_attention import RadixAttention
        from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
        from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
        from sglang.srt.speculative.frozen_kv_mtp_info import FrozenKVMTPContext

        from triage.sglang.names import swa_allocator_class

        self.geometry = g = geometry
        self.draft_tokens = draft_tokens
        self.draft_steps = draft_steps
        kinds = g.layer_kinds[: g.own_kv_layers]
        swa_allocator = swa_allocator_class()
        size_full, size_swa = g.full_pages * g.page_size, g.swa_pages * g.page_size
        self._publish_context()
        self.req_to_token_pool = ReqToTokenPool(
            size=g.max_requests,
            max_context_len=g.context_len,
            device="cpu",
            enable_memory_saver=False,
        )
        self.token_to_kv_pool = SWAKVPool(
            size=size_full,
            size_swa=size_swa,
            page_size=g.page_size,
            dtype=torch.float16,
            head_num=g.num_heads,
            head_dim=g.head_dim,
            swa_attention_layer_ids=[i for i, swa in enumerate(kinds) if swa],
            full_attention_layer_ids=[i for i, swa in enumerate(kinds) if not swa],
            device="cpu",
            **_accepted(SWAKVPool.__init__, enable_kvcache_transpose=False),
        )
        self.token_to_kv_pool_allocator = swa_allocator(
            size_full,
            size_swa,
            page_size=g.page_size,
            dtype=torch.float16,
            device="cpu",
            kvcache=self.token_to_kv_pool,
            need_sort=False,
        )
        # The draft's own pool is a dummy of 64 tokens, as FrozenKVMTPDraftWorker sizes it.
        self.draft_own_pool = MHATokenToKVPool(
            size=64,
            page_size=g.page_size,
            dtype=torch.float16,
            head_num=g.num_heads,
            head_dim=g.head_dim,
            layer_num=len(g.draft_layers),
            device="cpu",
            enable_memory_saver=False,
        )
        self.target_backend = self._backend(self.token_to_kv_pool, is_draft=False)
        self.draft_backend = self._backend(self.draft_own_pool, is_draft=True)
        self.kv_context = FrozenKVMTPContext(
            target_token_to_kv_pool=self.token_to_kv_pool,
            physical_layer_ids=dict(enumerate(g.draft_layers)),
        )
        self.layers = [
            RadixAttention(
                num_heads=g.num_heads,
                head_dim=g.head_dim,
                scaling=1.0,
                num_kv_heads=g.num_heads,
                layer_id=g.kv_layer(index),
                # The model files pass window - 1, the tokens visible beside the current one.
                sliding_window_size=g.window - 1 if swa else -1,
            )
            for index, swa in enumerate(g.layer_kinds)
        ]
        self.draft_attention = [self.layers[layer_id] for layer_id in g.draft_layers]

    # -- construction ------------------------------------------------------------------

    def _publish_context(self) -> None:
        """Publish SGLang's own default settings where this release reads them from.

        `ServerArgs(model_path="dummy")` is SGLang's documented short-cut: defaults
        without the resolution that needs a checkpoint.
        """
        from sglang.srt import server_args

        settings: dict[str, Any] = {
            "speculative_eagle_topk": 1,
            "speculative_num_draft_tokens": self.draft_tokens,
            "speculative_num_steps": self.draft_steps,
            "page_size": self.geometry.page_size,
            "device": "cpu",
        }
        try:
            from sglang.srt import runtime_context
        except ImportError:
            runtime_context = None
        if runtime_context is not None:
            parallel = runtime_context.get_parallel()
            known = {k: v for k, v in _ONE_GPU.items() if hasattr(type(parallel), k)}
            self._topology = parallel.override(**known)
            self._topology.__enter__()
            context = runtime_context.get_context()
            if hasattr(context, "override_server_args"):
                self.server_args = context.override_server_args(**settings).install()
                return
        self.server_args = server_args.ServerArgs(model_path="dummy")
        for name, value in settings.items():
            setattr(self.server_args, name, value)
        server_args.set_global_server_args_for_scheduler(self.server_args)

    def _backend(self, own_pool: Any, *, is_draft: bool) -> Any:
        import torch
        from sglang.srt.layers.attention import flashinfer_backend
        from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend
        from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

        g = self.geometry
        model_config = SimpleNamespace(
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
        )
        runner = SimpleNamespace(
            model_config=model_config,
            server_args=self.server_args,
            req_to_token_pool=self.req_to_token_pool,
            token_to_kv_pool=own_pool,
            token_to_kv_pool_allocator=self.token_to_kv_pool_allocator,
            kv_cache_dtype=torch.float16,
            dtype=torch.float16,
            page_size=g.page_size,
            device="cpu",
            sliding_window_size=g.window - 1,
            is_draft_worker=is_draft,
            spec_algorithm=SpeculativeAlgorithm.from_string("FROZEN_KV_MTP"),
            prefill_attention_backend_str="trtllm_mha",
            decode_attention_backend_str="trtllm_mha",
            max_running_requests=g.max_requests,
            model=torch.nn.Identity(),
        )
        _add_index_translator(runner)
        for name in _WRAPPERS:
            setattr(flashinfer_backend, name, _Inert)
        flashinfer_backend.should_use_tensor_core = lambda *_, **__: False
        flashinfer_backend.get_attention_tp_size = lambda: 1
        _replace_sm_count()
        return TRTLLMHAAttnBackend(runner)


_GROUPS = (
    *("tp", "pp", "dcp", "moe_ep", "moe_dp", "moe_tp"),
    *("attn_tp", "attn_cp", "attn_dcp", "attn_dp"),
)
_ONE_GPU = {
    f"{group}_{what}": value for group in _GROUPS for what, value in (("size", 1), ("rank", 0))
}

_WRAPPERS = (
    "BatchPrefillWithRaggedKVCacheWrapper",
    "BatchPrefillWithPagedKVCacheWrapper",
    "BatchDecodeWithPagedKVCacheWrapper",
    "FlashInferIndicesUpdaterPrefill",
    "FlashInferIndicesUpdaterDecode",
)


class _Inert:
    """Stands for a FlashInfer wrapper: constructed by SGLang, never called by trtllm_mha."""

    def __init__(self, *_: Any, **__: Any) -> None: ...


def bind_index_plan(backend: Any, forward_batch: Any) -> None:
    """What ForwardBatch.init_new does last from 0.5.23 on: plan the batch's slot ids."""
    translator = getattr(backend, "kv_index_translator", None)
    if translator is not None:
        translator.bind_own_plan(forward_batch)


def _add_index_translator(runner: Any) -> None:
    """From 0.5.23 a runner owns the object that turns slot ids into kernel ids."""
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


def _replace_sm_count() -> None:
    from sglang.srt.layers.attention import trtllm_mla_backend

    if hasattr(trtllm_mla_backend, "_multi_ctas_kv_counter_bytes"):
        trtllm_mla_backend._multi_ctas_kv_counter_bytes = lambda *_, **__: 1024


def _accepted(function: Any, **candidates: Any) -> dict[str, Any]:
    """The candidates that `function` names, for arguments that come and go with releases."""
    names = inspect.signature(function).parameters
    return {key: value for key, value in candidates.items() if key in names}
