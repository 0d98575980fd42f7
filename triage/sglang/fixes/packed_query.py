"""Fix `packed-query`: trtllm_mha hands XQA queries that lie one behind the other.

The failure (0.5.12.post1 to 0.5.15.post1, sgl-project/sglang#31667): FlashInfer's XQA takes the
address of the queries and no stride, and reads row r at r rows of packed queries. SGLang hands
it `q.reshape(-1, heads, head_dim)` of a slice of the fused QKV projection, whose rows are
further apart. Row 0 is right; every other row attends with keys and values in the place of its
queries, and nothing fails. Gemma-4's fused norm works in place on the slice; where something on
the way copies it, the queries are packed and nothing is wrong.

The rule: where the backend decodes through XQA (sm_90, sm_120), queries are made contiguous
before SGLang's own forward; ones that are already are passed on. A copy of the queries a launch,
legal under capture, no sync. trtllm-gen is left alone, as upstream's own correction does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from triage.sglang.binding.hooks import Hook
from triage.sglang.fixes.construction import uninitialised
from triage.sglang.fixes.fix import Fix, Probe, already_fixed, needed

MODULE = "sglang.srt.layers.attention.trtllm_mha_backend"
BACKEND = f"{MODULE}.TRTLLMHAAttnBackend"
HEADS, HEAD_DIM = 2, 8


class PackedQuery(Fix):
    name = "packed-query"
    what = "queries for XQA are made contiguous: it reads them as packed, whatever their stride"

    @staticmethod
    def probe() -> Probe:
        """See which queries SGLang's `forward_decode` hands to FlashInfer."""
        seen: list[Tensor] = []

        def kernel(query: Tensor, **_: Any) -> Tensor:
            seen.append(query)
            return query.contiguous()

        decode(sliced_query(), kernel)
        if seen[0].is_contiguous():
            return already_fixed("a slice of QKV reaches XQA as packed rows")
        apart, packed = seen[0].stride(0), HEADS * HEAD_DIM
        return needed(f"a slice of QKV reaches XQA with rows {apart} apart, read as {packed} apart")

    def hooks(self) -> list[Hook]:
        return [
            Hook(f"{BACKEND}.{name}", self._around, f"fix {self.name}")
            for name in ("forward_decode", "forward_extend")
        ]

    def _around(self, original: Any, backend: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
        reads_packed = self.armed and getattr(backend, "is_xqa_impl", False)
        if reads_packed and q is not None and not q.is_contiguous():
            self.uses += 1
            q = q.contiguous()
        return original(backend, q, *args, **kwargs)


def sliced_query(rows: int = 3) -> Tensor:
    """Queries as a fused QKV projection leaves them: `(rows, heads * head_dim)`, rows apart."""
    width = HEADS * HEAD_DIM
    return torch.arange(rows * 2 * width, dtype=torch.float32).view(rows, 2 * width)[:, :width]


def decode(q: Tensor, kernel: Callable[..., Tensor]) -> Tensor:
    """SGLang's `forward_decode` on uninitialised objects, with `kernel` in FlashInfer's place.

    q: `(rows, HEADS * HEAD_DIM)`, as the result. One KV head and one page of zeros; `kernel`
    gets what FlashInfer would, by name, and gives `(rows, HEADS, HEAD_DIM)`.
    """
    module = importlib.import_module(MODULE)
    backend = uninitialised(module.TRTLLMHAAttnBackend)
    cache, numbers = torch.zeros(1, 1, HEAD_DIM), torch.zeros(len(q), 1, dtype=torch.int32)
    pool = SimpleNamespace(get_kv_buffer=lambda layer_id: (cache, cache))
    for name, value in {
        "data_type": torch.float32,
        "q_data_type": torch.float32,
        "is_xqa_impl": True,
        "is_nvfp4_kvcache": False,
        "decode_uses_native_fp4": False,
        "decode_seq_len_splits": 1,
        "page_size": 1,
        "token_to_kv_pool": pool,
        "forward_metadata": SimpleNamespace(
            cache_seqlens_int32=numbers[:, 0], swa_out_cache_loc=None
        ),
        "workspace_buffer": None,
        "max_context_len": 1,
        "_multi_ctas_kv_counter_buffer": None,
        "_get_layer_page_table": lambda layer, batch: numbers,
    }.items():
        setattr(backend, name, value)
    layer = SimpleNamespace(
        layer_id=0,
        tp_q_head_num=HEADS,
        tp_k_head_num=1,
        tp_v_head_num=1,
        head_dim=HEAD_DIM,
        v_head_dim=HEAD_DIM,
        scaling=1.0,
        k_scale=None,
        v_scale=None,
        k_scale_float=None,
        v_scale_float=None,
        sliding_window_size=-1,
    )
    batch = SimpleNamespace(out_cache_loc=None, token_to_kv_pool=pool)
    missing = object()
    before = getattr(module, "flashinfer", missing)
    stand_in = SimpleNamespace(trtllm_batch_decode_with_kv_cache=kernel)
    setattr(module, "flashinfer", SimpleNamespace(decode=stand_in))  # noqa: B010
    try:
        result: Tensor = backend.forward_decode(q, None, None, layer, batch, save_kv_cache=False)
        return result
    finally:
        if before is missing:
            delattr(module, "flashinfer")
        else:
            setattr(module, "flashinfer", before)  # noqa: B010
