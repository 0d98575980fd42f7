"""Ask SGLang's trtllm_mha backend which SWA pool it would translate through.

Releases from 0.5.13.post1 decide that in `_resolve_swa_kv_pool`; 0.5.12.post1 does
in its constructor, which is then run for real on the meta device, its parent's
constructor and everything that asks CUDA replaced for the length of the call.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from triage.sglang.binding.names import swa_allocator_class


def uninitialised(cls: type[Any], **attributes: Any) -> Any:
    """An instance of a real SGLang class whose constructor did not run."""
    made = object.__new__(cls)
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
    return made


class Draft:
    """A draft worker as the backend's constructor sees it: own plain pool, target's allocator."""

    def __init__(self, algorithm: str) -> None:
        from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool
        from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
        from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

        mapping = torch.zeros(1, dtype=torch.int64)
        self.target_pool = uninitialised(
            SWAKVPool, full_to_swa_index_mapping=mapping, layers_mapping={}
        )
        self.target_pool.swa_kv_pool = self.target_pool.full_kv_pool = None
        self.own_pool = uninitialised(MHATokenToKVPool)
        allocator = uninitialised(swa_allocator_class(), _kvcache=self.target_pool)
        self.runner = SimpleNamespace(
            token_to_kv_pool=self.own_pool,
            token_to_kv_pool_allocator=allocator,
            is_draft_worker=True,
            spec_algorithm=SpeculativeAlgorithm.from_string(algorithm),
            model_config=SimpleNamespace(context_len=64, hidden_size=8, is_multimodal=False),
            server_args=SimpleNamespace(
                speculative_eagle_topk=1, speculative_num_draft_tokens=4, speculative_num_steps=3
            ),
            req_to_token_pool=SimpleNamespace(req_to_token=mapping),
            kv_cache_dtype=torch.float16,
            dtype=torch.float16,
            page_size=64,
            device="meta",
            sliding_window_size=512,
        )

    def swa_pool(self) -> Any:
        """The SWAKVPool the real backend would keep for this runner, None for none."""
        from sglang.srt.layers.attention import trtllm_mha_backend as module
        from sglang.srt.layers.attention.flashinfer_backend import FlashInferAttnBackend

        backend = module.TRTLLMHAAttnBackend
        if hasattr(backend, "_resolve_swa_kv_pool"):
            return backend._resolve_swa_kv_pool(self.runner)
        made = uninitialised(backend)
        with ExitStack() as replaced:
            for name in ("is_sm90_supported", "is_sm120_supported"):
                replaced.enter_context(mock.patch.object(module, name, lambda *_: False))
            replaced.enter_context(
                mock.patch.object(module, "global_zero_init_workspace_buffer", torch.empty(0))
            )
            replaced.enter_context(
                mock.patch.object(FlashInferAttnBackend, "__init__", lambda *_, **__: None)
            )
            made.__init__(self.runner)
        return made._swa_kv_pool
