"""SGLang's FlashInfer backend (fa2) on a CPU: all of it but FlashInfer.

SGLang's constructor, its two index updaters and both forwards run as released. FlashInfer's
wrappers are compiled for a GPU: in their place stand objects that keep what they were planned
with under FlashInfer's own names, and hand it on when they are run.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from triage.lab.kernel_reads import Sink, SlotRead


class _OnTheCpu(ModuleType):
    """torch, but that a tensor on a device named cuda is one on the CPU."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def empty(*args: Any, **kwargs: Any) -> Tensor:
        return torch.empty(*args, **{**kwargs, "device": "cpu"})

    @staticmethod
    def zeros(*args: Any, **kwargs: Any) -> Tensor:
        return torch.zeros(*args, **{**kwargs, "device": "cpu"})


def _nowhere(read: Any) -> None:
    """Of a graph's wrappers, whose layers are captured and run nothing."""


class _Wrapper:
    """Keeps the plan as FlashInfer's wrappers do: in a graph's own buffers where it has some."""

    sink: Sink = staticmethod(_nowhere)
    slides = False

    def __init__(
        self,
        *_: Any,
        use_cuda_graph: bool = False,
        paged_kv_indptr_buffer: Tensor | None = None,
        paged_kv_indices_buffer: Tensor | None = None,
        **__: Any,
    ) -> None:
        self.is_cuda_graph_enabled = use_cuda_graph
        self._paged_kv_indptr_buf = paged_kv_indptr_buffer
        self._paged_kv_indices_buf = paged_kv_indices_buffer

    def _run(self, query: Tensor, kv_cache: tuple[Tensor, Tensor]) -> Tensor:
        assert self._paged_kv_indptr_buf is not None and self._paged_kv_indices_buf is not None
        indptr, indices = self._paged_kv_indptr_buf, self._paged_kv_indices_buf
        self.sink(SlotRead(kv_cache[0], indptr, indices, self.slides, with_queries=True))
        return torch.zeros_like(query)


class _Decode(_Wrapper):
    def begin_forward(self, indptr: Tensor, indices: Tensor, *_: Any, **__: Any) -> None:
        if self.is_cuda_graph_enabled:
            assert self._paged_kv_indptr_buf is not None
            assert self._paged_kv_indices_buf is indices, "SGLang fills a graph's buffer itself"
            self._paged_kv_indptr_buf.copy_(indptr)
        else:
            self._paged_kv_indptr_buf, self._paged_kv_indices_buf = indptr.clone(), indices

    def forward(self, query: Tensor, kv_cache: Any, **_: Any) -> Tensor:
        return self._run(query, kv_cache)


def _fast_decode_plan(wrapper: _Decode, *args: Any, **kwargs: Any) -> None:
    """FlashInfer's plan of a captured decode, which SGLang puts in the place of `begin_forward`."""
    _Decode.begin_forward(wrapper, *args, **kwargs)


class _Paged(_Wrapper):
    def begin_forward(
        self, qo_indptr: Tensor, indptr: Tensor, indices: Tensor, *_: Any, **__: Any
    ) -> None:
        self._paged_kv_indptr_buf, self._paged_kv_indices_buf = indptr.clone(), indices

    def forward(self, query: Tensor, kv_cache: Any, **_: Any) -> Tensor:
        return self._run(query, kv_cache)

    def forward_return_lse(self, query: Tensor, kv_cache: Any, **_: Any) -> tuple[Tensor, Tensor]:
        return self._run(query, kv_cache), torch.zeros(query.shape[:-1])


class _Ragged:
    def __init__(self, *_: Any, **__: Any) -> None: ...

    def begin_forward(self, *_: Any, **__: Any) -> None: ...

    def forward(self, query: Tensor, *_: Any, **__: Any) -> Tensor:
        return torch.zeros_like(query)

    def forward_return_lse(self, query: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(query), torch.zeros(query.shape[:-1])


def fa2(runner: Any, sink: Sink) -> Any:
    """SGLang's FlashInferAttnBackend over `runner`; every run over cached keys goes to `sink`."""
    from sglang.srt.layers.attention import flashinfer_backend as module

    from triage.lab.backends import released_names

    runner.model_config.is_multimodal = True  # as Gemma-4 is: paged, not ragged prefill
    runner.prefill_attention_backend_str = runner.decode_attention_backend_str = "flashinfer"
    for name, stand_in in (
        ("BatchDecodeWithPagedKVCacheWrapper", _Decode),
        ("BatchPrefillWithPagedKVCacheWrapper", _Paged),
        ("BatchPrefillWithRaggedKVCacheWrapper", _Ragged),
        ("fast_decode_plan", _fast_decode_plan),
    ):
        setattr(module, name, stand_in)
    for name, original in released_names().items():
        setattr(module, name, original)
    module.torch = _OnTheCpu("torch")
    module.should_use_tensor_core = lambda *_, **__: False
    module._safe_merge_state = lambda one, _, *__: (one, None)
    module.merge_state = lambda one, _, *__: (one, None)
    if hasattr(module, "get_attention_tp_size"):
        module.get_attention_tp_size = lambda: 1
    backend = module.FlashInferAttnBackend(runner)
    for group in ("prefill_wrappers_paged", "prefill_wrappers_verify", "decode_wrappers"):
        for number, wrapper in enumerate(getattr(backend, group)):
            wrapper.sink, wrapper.slides = sink, backend.num_wrappers == 2 and number == 0
    return backend
