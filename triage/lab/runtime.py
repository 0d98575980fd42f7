"""Real SGLang pools, allocator and attention backends around a model that was never loaded.

Replaced, because they need a GPU or a checkpoint, and named in every report:
the model runner (a namespace with the attributes the constructors read), the
FlashInfer wrapper classes that `FlashInferAttnBackend.__init__` builds and the
trtllm_mha backend never calls, and the CUDA device count behind one counter
buffer. Everything else runs as released.
"""

from __future__ import annotations

import inspect
from typing import Any

from triage.lab import builders
from triage.lab.backends import model_runner, trtllm_mha, trtllm_mha_multi_step
from triage.lab.geometry import Geometry
from triage.lab.settings import Published

REPLACED = (
    "flashinfer.decode.trtllm_batch_decode_with_kv_cache: address emulator",
    "flashinfer.prefill.trtllm_batch_context_with_kv_cache: address emulator",
    "ModelRunner: a namespace with the attributes the backends read",
    "FlashInfer wrapper and index-updater classes built by FlashInferAttnBackend.__init__: inert",
    "_multi_ctas_kv_counter_bytes: a constant, it asks CUDA for the number of SMs",
    "scheduler loop, Req and sampling: driven by hand in triage/lab/drivers/pools.py",
)


class Runtime:
    """The memory side of one serving process: the target and its draft.

    Attributes carry SGLang's names: `req_to_token_pool`, `token_to_kv_pool`
    (the target's SWAKVPool), `token_to_kv_pool_allocator`, `target_backend`,
    `layers` (RadixAttention by layer id). Of the draft: `draft_pool`, the pool of
    its own runner (a dummy for a frozen-KV draft), `draft_backend` (one backend,
    or one per step), `draft_attention` (its layers), for frozen KV `kv_context`.
    `chunk`: tokens of one prefill forward, which SGLang asks its settings for.
    `dtype`: of keys and values in every pool, fp8 included.
    `reads` receives what the kernels of the other two backends read; set it before a forward.
    Only one is in force at a time: SGLang's settings are global. `close()` it.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        draft_tokens: int,
        draft_steps: int,
        draft: str = "frozen",
        backend: str = "trtllm_mha",
        chunk: int | None = None,
        dtype: Any = None,
    ) -> None:
        import torch

        self.dtype: Any = torch.float16 if dtype is None else dtype
        self.backend = backend
        self.reads: builders.Sink = _nobody
        self.geometry = geometry
        self.draft_tokens = draft_tokens
        self.draft_steps = draft_steps
        self.draft = draft
        spec = {} if draft == "none" else {"speculative_algorithm": _ALGORITHM[draft]}
        self.published = Published(
            speculative_eagle_topk=1,
            speculative_num_draft_tokens=draft_tokens if spec else None,
            speculative_num_steps=draft_steps,
            page_size=geometry.page_size,
            device="cpu",
            **({} if chunk is None else {"chunked_prefill_size": chunk}),
            **spec,
        )
        try:
            self._construct()
        except BaseException:  # a trap may fire here; left published, they end in a later run
            self.close()
            raise

    def close(self) -> None:
        self.published.withdraw()

    # -- construction ------------------------------------------------------------------

    def _construct(self) -> None:
        self._pools()
        self.layers = [self._layer(index) for index in range(self.geometry.num_layers)]
        runner = self._runner(self.token_to_kv_pool, self.geometry.window)
        self.target_backend = self._attention(runner)
        if self.draft == "frozen":
            self._frozen_draft()
        elif self.draft == "eagle":
            self._eagle_draft()

    def _pools(self) -> None:
        from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
        from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

        from triage.sglang.binding.names import swa_allocator_class

        g = self.geometry
        kinds = g.layer_kinds[: g.own_kv_layers]
        swa_allocator = swa_allocator_class()
        size_full, size_swa = g.full_pages * g.page_size, g.swa_pages * g.page_size
        # SGLang leaves this headroom above the context for the tokens of a last step.
        self.req_to_token_pool = ReqToTokenPool(
            size=g.max_requests,
            max_context_len=g.context_len + 4 + self.draft_tokens,
            device="cpu",
            enable_memory_saver=False,
        )
        self.token_to_kv_pool = SWAKVPool(
            size=size_full,
            size_swa=size_swa,
            page_size=g.page_size,
            dtype=self.dtype,
            head_num=g.num_heads,
            head_dim=g.head_dim,
            swa_attention_layer_ids=[i for i, swa in enumerate(kinds) if swa],
            full_attention_layer_ids=[i for i, swa in enumerate(kinds) if not swa],
            device="cpu",
            **accepted(SWAKVPool.__init__, enable_kvcache_transpose=False),
        )
        self.token_to_kv_pool_allocator = swa_allocator(
            size_full,
            size_swa,
            page_size=g.page_size,
            dtype=self.dtype,
            device="cpu",
            kvcache=self.token_to_kv_pool,
            need_sort=False,
        )

    def _layer(self, index: int) -> Any:
        from sglang.srt.layers.radix_attention import RadixAttention

        g = self.geometry
        return RadixAttention(
            num_heads=g.num_heads,
            head_dim=g.head_dim,
            scaling=1.0,
            num_kv_heads=g.num_heads,
            layer_id=g.kv_layer(index),
            # The model files pass window - 1, the tokens visible beside the current one.
            sliding_window_size=g.window - 1 if g.layer_kinds[index] else -1,
        )

    def _own_pool(self, size: int, layers: int) -> Any:
        from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool

        return MHATokenToKVPool(
            size=size,
            page_size=self.geometry.page_size,
            dtype=self.dtype,
            head_num=self.geometry.num_heads,
            head_dim=self.geometry.head_dim,
            layer_num=layers,
            device="cpu",
            enable_memory_saver=False,
        )

    def _runner(self, pool: Any, window: int | None, is_draft: bool = False) -> Any:
        algorithm = _ALGORITHM[self.draft]
        return model_runner(self, pool, is_draft=is_draft, algorithm=algorithm, window=window)

    def _attention(self, runner: Any) -> Any:
        if self.backend == "trtllm_mha":
            return trtllm_mha(runner)
        return builders.attention(self.backend, runner, lambda read: self.reads(read))

    def _multi_step(self, runner: Any) -> Any:
        if self.backend == "trtllm_mha":
            return trtllm_mha_multi_step(runner, self.draft_steps)
        return builders.multi_step(
            self.backend, runner, self.draft_steps, lambda read: self.reads(read)
        )

    def _frozen_draft(self) -> None:
        from sglang.srt.speculative.frozen_kv_mtp_info import FrozenKVMTPContext

        g = self.geometry
        # A dummy of 64 tokens, as FrozenKVMTPDraftWorker sizes it.
        self.draft_pool = self._own_pool(64, len(g.draft_layers))
        self.draft_backend = self._attention(self._runner(self.draft_pool, g.window, is_draft=True))
        self.kv_context = FrozenKVMTPContext(
            target_token_to_kv_pool=self.token_to_kv_pool,
            physical_layer_ids=dict(enumerate(g.draft_layers)),
        )
        self.draft_attention = [self.layers[layer_id] for layer_id in g.draft_layers]

    def _eagle_draft(self) -> None:
        """One full-attention layer, id 0, over a pool of its own that shares the target's slots."""
        from sglang.srt.layers.radix_attention import RadixAttention

        g = self.geometry
        self.draft_pool = self._own_pool(g.full_pages * g.page_size, 1)
        runner = self._runner(self.draft_pool, None, is_draft=True)
        self.draft_backend = self._multi_step(runner)
        self.draft_extend_backend = self._attention(runner)
        layer = RadixAttention(
            num_heads=g.num_heads,
            head_dim=g.head_dim,
            scaling=1.0,
            num_kv_heads=g.num_heads,
            layer_id=0,
        )
        self.draft_attention = [layer]


def _nobody(read: Any) -> None:
    raise AssertionError("a kernel was called before the lab's GPU was set")


_ALGORITHM = {"frozen": "FROZEN_KV_MTP", "eagle": "EAGLE", "ngram": "NGRAM", "none": "NONE"}


def accepted(function: Any, **candidates: Any) -> dict[str, Any]:
    """The candidates that `function` names, for arguments that come and go with releases."""
    names = inspect.signature(function).parameters
    return {key: value for key, value in candidates.items() if key in names}
