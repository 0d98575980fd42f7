"""An fp8 cache under trtllm_mha on a CPU: SGLang's own store, its CUDA kernel replaced by torch.

What runs is SGLang's, down to what the kernel is given: caches, slots, scales. From 0.5.18 on the
store is a kernel compiled for CUDA, which also quantises the queries; before, a Triton kernel,
which the interpreter runs. Queries are quantised apart there, by a function of `sgl_kernel`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

REPLACED = (
    "_jit_fused_fp8_qkv_kv_cache_module (0.5.18 and later): the same with torch",
    "scaled_fp8_quant (up to 0.5.15.post1): a cast, its scale is one",
)


def stand_in_store() -> None:
    """Replace what of trtllm_mha's fp8 store needs a GPU. Once is enough."""
    from sglang.srt.layers.attention import trtllm_mha_backend

    if hasattr(trtllm_mha_backend, "scaled_fp8_quant"):
        trtllm_mha_backend.scaled_fp8_quant = _cast
    try:
        from sglang.kernels.ops.kvcache import fused_fp8_qkv_kv_cache as stored
    except ImportError:
        return
    module = SimpleNamespace(fused_fp8_qkv_kv_cache=_store)
    stored._jit_fused_fp8_qkv_kv_cache_module = lambda *_: module


def _cast(query: Tensor, scale: Any) -> tuple[Tensor, Tensor]:
    return query.to(torch.float8_e4m3fn), torch.ones(1)


def _store(
    q: Tensor | None,
    k: Tensor,
    v: Tensor,
    q_out: Tensor | None,
    k_cache: Tensor,
    v_cache: Tensor,
    cache_loc: Tensor,
    k_scale: Tensor,
    v_scale: Tensor,
) -> None:
    """The kernel's parameters and order. No torch indexes fp8 on a CPU: bytes are moved."""
    for rows, cache, scale in ((k, k_cache, k_scale), (v, v_cache, v_scale)):
        stored = (rows.float() / scale).to(torch.float8_e4m3fn)
        cache.view(torch.uint8)[cache_loc.long()] = stored.view(torch.uint8)
    if q is not None and q_out is not None:
        q_out.copy_(q.to(torch.float8_e4m3fn))
