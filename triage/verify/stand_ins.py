"""What SGLang's own code is handed where the real thing needs a checkpoint or a GPU.

Every function of SGLang that the cases call is the release's own; these are its inputs.
Sizes are those of Gemma-4: 26B-A4B where there are experts, 31B where not.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType, SimpleNamespace
from typing import Any
from unittest import mock

from triage.sglang.fixes.mm_graphs import ARCHITECTURE, BLOCKED, DECISIONS, LISTED

MOE_KV_BYTES = 593_956 * 184_320
"""KV memory of the 26B server that starved: its full tokens times bytes per token at 0.8."""

KV_SHARED = {"E2B": (35, 20), "E4B": (42, 18)}
"""Layers, and how many of the last share the keys and values of earlier ones."""


def pool_owner(architecture: str, experts: int | None, ratio: float | None = None) -> Any:
    """What a pool configurator is built from. `ratio` is the user's, None for the default."""
    import torch
    from sglang.srt.server_args import ServerArgs
    from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

    arguments = ServerArgs(model_path="dummy")
    if ratio is not None:
        arguments.swa_full_tokens_ratio = ratio
    full, sliding, full_heads, swa_heads = (5, 25, 2, 8) if experts else (10, 50, 4, 16)
    return SimpleNamespace(
        server_args=arguments,
        kv_cache_dtype=torch.bfloat16,
        kv_cache_dtype_str="auto",
        spec_algorithm=SpeculativeAlgorithm.NONE,
        is_draft_worker=False,
        sliding_window_size=1023,
        page_size=1,
        model_config=SimpleNamespace(
            hf_config=SimpleNamespace(architectures=[architecture]),
            hf_text_config=SimpleNamespace(num_experts=experts),
            full_attention_layer_ids=list(range(full)),
            swa_attention_layer_ids=list(range(full, full + sliding)),
            head_dim=512,
            v_head_dim=512,
            swa_head_dim=256,
            swa_v_head_dim=256,
            get_num_kv_heads=lambda tp: full_heads,
            get_swa_num_kv_heads=lambda tp: swa_heads,
        ),
    )


def pool_sizes(owner: Any, memory: int = MOE_KV_BYTES) -> tuple[int, int]:
    """(full, SWA) tokens that SGLang's hybrid configurator makes of `memory` bytes, one GPU."""
    from sglang.srt.model_executor import pool_configurator as module

    with ExitStack() as one_gpu:
        for name, value in (
            ("get_attention_tp_size", lambda: 1),
            ("get_parallel", lambda: SimpleNamespace(attn_tp_size=1)),
        ):
            if hasattr(module, name):
                one_gpu.enter_context(mock.patch.object(module, name, value))
        made = module.HybridSWAPoolConfigurator(owner)
    sizes = made.calculate_pool_sizes(memory, owner.page_size)
    return int(sizes.full_max_total_num_tokens), int(sizes.swa_max_total_num_tokens)


def graph_model(
    *, shared: int = 0, architecture: str = ARCHITECTURE, multimodal: bool = True
) -> Any:
    """A model config as far as the decision over graphs reads it, flags as SGLang derives them."""
    from sglang.srt.configs import model_config as module

    config = SimpleNamespace(
        is_multimodal=multimodal,
        hf_config=SimpleNamespace(architectures=[architecture]),
        hf_text_config=SimpleNamespace(num_kv_shared_layers=shared),
        is_multimodal_breakable_cuda_graph_supported=False,
    )
    blocked = module.is_piecewise_cuda_graph_disabled_model([architecture])
    if hasattr(module, LISTED):
        setattr(config, LISTED, getattr(module, LISTED)([architecture]))
        blocked = blocked or (multimodal and not getattr(config, LISTED))
    setattr(config, BLOCKED, blocked)
    return config


def has_piecewise_graphs(config: Any, *, chosen: bool = False, **arguments: Any) -> bool:
    """SGLang's own decision for this model. `chosen`: the user asks for them by flag."""
    from sglang.srt.server_args import ServerArgs

    args = ServerArgs(model_path="dummy")
    for name, value in arguments.items():
        setattr(args, name, value)
    decision = next(name for name in DECISIONS if hasattr(args, name))
    with mock.patch.object(ServerArgs, "get_model_config", lambda self: config):
        if decision == DECISIONS[1]:
            args.enforce_piecewise_cuda_graph = chosen
            getattr(args, decision)()
            return not args.disable_piecewise_cuda_graph
        from sglang.srt.model_executor.cuda_graph_config import Backend, CudaGraphConfig, Phase

        args.cuda_graph_config = CudaGraphConfig()
        args.cuda_graph_config.prefill.backend = Backend.TC_PIECEWISE
        args._cuda_graph_config_locked = {(Phase.PREFILL, "backend")} if chosen else set()
        getattr(args, decision)()
        return bool(args.cuda_graph_config.prefill.backend == Backend.TC_PIECEWISE)


PADDED_TOKENS, TOKENS = 8, 5


class AttentionCalls:
    """Stands for the attention kernel: doubles the query and notes what each layer passed."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool, int, bool]] = []

    def forward(
        self, q: Any, k: Any, v: Any, layer: Any, batch: Any, save_kv_cache: bool, **_: Any
    ) -> Any:
        self.seen.append((layer.layer_id, k is None, len(q), save_kv_cache))
        return q * 2


@contextmanager
def piecewise_context() -> Iterator[Any]:
    """A prefill inside a piecewise graph, as RadixAttention sees it; three of eight tokens pad."""
    import torch
    from sglang.srt.layers import radix_attention
    from sglang.srt.model_executor.forward_batch_info import ForwardMode

    calls = AttentionCalls()
    batch = SimpleNamespace(
        forward_mode=ForwardMode.EXTEND,
        num_token_non_padded_cpu=TOKENS,
        out_cache_loc=torch.arange(PADDED_TOKENS),
        out_cache_loc_swa=None,
        token_to_kv_pool=None,
        attn_backend=calls,
    )
    made = SimpleNamespace(forward_batch=batch, attention_layers=[], calls=calls)
    with ExitStack() as stack:
        for name in ("get_forward_context", "get_tc_piecewise_forward_context"):
            if hasattr(radix_attention, name):
                stack.enter_context(mock.patch.object(radix_attention, name, lambda: made))
        if hasattr(radix_attention, "get_attn_backend"):
            stack.enter_context(
                mock.patch.object(radix_attention, "get_attn_backend", lambda: calls)
            )
        yield made


def op_on_a_cpu(op: str) -> None:
    """SGLang registers its ops for CUDA only: give this one's own function to the CPU as well.

    The registry hands no function back, so it is found among the living objects.
    """
    import torch
    from sglang.srt.utils.common import sglang_lib

    if torch._C._dispatch_has_kernel_for_dispatch_key(f"sglang::{op}", "CPU"):
        return
    gc.unfreeze()  # what the lab imported is listed among the living again
    functions = (item for item in gc.get_objects() if type(item) is FunctionType)
    sglang_lib.impl(op, next(item for item in functions if item.__name__ == op), "CPU")


def kv_shared_model(model: str) -> tuple[list[Any], int]:
    """(attention layers, how many own their keys) of "E2B" or "E4B", two heads of four."""
    from sglang.srt.layers.radix_attention import RadixAttention

    number, shared = KV_SHARED[model]
    layers = [
        RadixAttention(2, 4, scaling=1.0, num_kv_heads=2, layer_id=index) for index in range(number)
    ]
    return layers, number - shared


def forward_kv_shared(model: str, context: Any) -> Any:
    """Every layer of `model` once through SGLang's op; returns the last output."""
    import torch

    layers, own = kv_shared_model(model)
    context.attention_layers = layers
    query = torch.ones(PADDED_TOKENS, 8)
    output = query
    for index, layer in enumerate(layers):
        kv = torch.ones(PADDED_TOKENS, 2, 4) if index < own else None
        output = layer(query, kv, kv, context.forward_batch, save_kv_cache=kv is not None)
    return output


def queries_as_xqa_reads_them(query: Any, **_: Any) -> Any:
    """In FlashInfer's place: `(rows, heads, head_dim)` of packed rows from the query's address.

    FlashInfer 0.6.12, csrc/xqa/xqa_wrapper.cu: `q.data_ptr()` goes on without a stride.
    """
    packed = query.shape[1] * query.shape[2], query.shape[2], 1
    return query.as_strided(query.shape, packed).clone()
