"""SGLang's own Gemma-4 text models, small, one decode step on a CPU, stock and with fused ops.

`python fused_model_child.py KIND:OPS[:SPOILED]...` prints one JSON object for each (OPS are names
with `+` between them): the largest difference of the model's output and of the KV caches from
the stock forward, relative to the largest value; and the counts. Real: model, layers, norms,
router, rotary embedding, pool, the Triton backend's own forward of a decode step and our kernels in
Triton's interpreter. Stood in: the attention kernel below the backend (torch), the experts'
matrix products (torch, with SGLang's routing in front), and vLLM's rotary kernel, which is
imported where there is no GPU and never called.

KIND: "ple" (E2B: per-layer embeddings, shared layers), "dense" (31B), "moe" (26B-A4B), "draft"
(E4B's assistant, whose layers all read the target's keys).
SPOILED: a way of `SPOILS`, that the comparison has to see or the op has to survive.
"""

from __future__ import annotations

import inspect
import json
import sys
import tempfile
import types
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from triage.lab import bootstrap

bootstrap.prepare()

import torch  # noqa: E402

from triage.lab.server import shapes  # noqa: E402
from triage.lab.settings import Published  # noqa: E402
from triage.sglang.binding.shell import Shells  # noqa: E402
from triage.sglang.fixes import fused_attention, fused_calls, fused_next_norm  # noqa: E402
from triage.sglang.fixes.fused import FusedLayers  # noqa: E402
from triage.verify.binding import bound  # noqa: E402

ROWS, SEEN, SLOTS = 3, 5, 64
"""Requests, tokens each has in the cache (its newest included), slots of each pool."""
SWA_AHEAD = 20
"""A token's slot in the sliding pool, less that in the full one."""


def shape(kind: str) -> shapes.Shape:
    found = replace(
        shapes.find({"ple": "E2B", "dense": "31B", "moe": "26B-A4B", "draft": "E4B"}[kind]),
        hidden=64, intermediate=96, layers=6, full_every=3, q_heads=4, kv_heads=(2, 1),
        head_dim=(16, 32), vocab=128, max_positions=256, window=4,
    )  # fmt: skip
    if kind == "ple":
        found = replace(found, kv_shared=3, per_layer=16)
    if kind == "moe":
        found = replace(found, experts=4, top_k=2, expert_intermediate=32)
    if kind == "draft":
        assistant = replace(found.assistant, hidden=64, intermediate=96, q_heads=4)
        found = replace(found, kv_shared=0, per_layer=0, assistant=assistant)
    return found


def made(kind: str) -> torch.nn.Module:
    """The model that holds the layers, weights drawn."""
    from sglang.srt.models import gemma4_causal, gemma4_mtp
    from sglang.srt.utils.hf_transformers_utils import get_config

    draft = kind == "draft"
    folder = shapes.write_model(Path(tempfile.mkdtemp()), shape(kind), small=False, assistant=draft)
    config = get_config(str(folder), trust_remote_code=False)
    cls = gemma4_mtp.Gemma4AssistantForCausalLM if draft else gemma4_causal.Gemma4ForCausalLM
    model = cls(config)
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        wide = weight.shape[-1] if weight.dim() > 1 else 0
        weight.data = (
            torch.randn(weight.shape) / wide**0.5 if wide else torch.rand_like(weight) + 0.5
        )
        if name.endswith("router.scale"):  # on a CPU the norm that it is folded into ignores it
            weight.data = torch.full(weight.shape, weight.shape[0] ** 0.5)
    for layer in model.model.layers:
        layer.layer_scalar.fill_(0.7)
    if draft:
        for layer in model.model.layers:  # as `bind_frozen_kv_context` does
            attention, full = layer.self_attn, layer.is_full_attention
            attention.is_kv_shared_layer, attention.kv_shared_layer_index = True, 2 if full else 1
            attention.attn.layer_id = attention.kv_shared_layer_index
    return model.model


def stand_in_for_experts(layer: torch.nn.Module) -> None:
    """Torch in the place of the experts' kernels, behind SGLang's TopK."""
    experts = layer.moe.experts

    def forward(hidden: torch.Tensor, routed: tuple) -> torch.Tensor:
        weights, ids = routed.topk_weights, routed.topk_ids
        out = torch.zeros_like(hidden)
        for row in range(len(hidden)):
            for weight, expert in zip(weights[row], ids[row], strict=True):
                gate, up = (experts.w13_weight[expert] @ hidden[row]).chunk(2)
                out[row] += weight * (experts.w2_weight[expert] @ (torch.tanh(gate) * up))
        return out

    experts.forward = forward


def pool_of(kind: str) -> object:
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    found = shape(kind)
    known = inspect.signature(SWAKVPool.__init__).parameters
    plain = {name: False for name in ("enable_kvcache_transpose",) if name in known}
    owners = found.layer_types[: found.layers - found.kv_shared]
    sizes = {"head_num": found.kv_heads[1], "head_dim": found.head_dim[1]}
    pool = SWAKVPool(
        size=SLOTS, size_swa=SLOTS, page_size=1, dtype=torch.float32, **sizes,
        swa_head_num=found.kv_heads[0], swa_head_dim=found.head_dim[0],
        swa_v_head_dim=found.head_dim[0],
        swa_attention_layer_ids=[i for i, k in enumerate(owners) if k == "sliding_attention"],
        full_attention_layer_ids=[i for i, k in enumerate(owners) if k == "full_attention"],
        device="cpu", **plain,
    )  # fmt: skip
    # 0.5.12 translates at each write; later ones take `swa_out_cache_loc` of `backend_of`
    pool.register_mapping(torch.arange(SLOTS) + SWA_AHEAD)
    torch.manual_seed(5)
    for buffer in buffers(pool):
        buffer.copy_(torch.randn(buffer.shape))
    return pool


def buffers(pool) -> list[torch.Tensor]:
    parts = pool.full_kv_pool, pool.swa_kv_pool
    return [buffer for part in parts for buffer in (*part.k_buffer, *part.v_buffer)]


def attention_kernel(q, keys, values, o, kv_indptr, kv_indices, *_: object, **__: object) -> None:
    """Stands for `decode_attention_fwd`: the same reads, in torch."""
    for row in range(len(q)):
        seen = kv_indices[kv_indptr[row] : kv_indptr[row + 1]]
        group = q.shape[1] // keys.shape[1]
        k = keys[seen].repeat_interleave(group, 1)
        v = values[seen].repeat_interleave(group, 1)
        weights = torch.softmax(torch.einsum("hd,thd->ht", q[row], k), -1)
        o[row] = torch.einsum("ht,thd->hd", weights, v)


def backend_of(pool) -> object:
    """SGLang's Triton backend as one decode step finds it."""
    from sglang.srt.layers.attention import triton_backend

    backend = triton_backend.TritonAttnBackend.__new__(triton_backend.TritonAttnBackend)
    newest = torch.arange(ROWS) * SEEN + SEEN
    pages = torch.arange(ROWS)[:, None] * SEEN + torch.arange(1, SEEN + 1)
    metadata = SimpleNamespace(
        swa_out_cache_loc=newest + SWA_AHEAD, out_cache_loc_full_physical=None,
        kv_indptr=torch.arange(ROWS + 1) * SEEN, kv_indices=pages.flatten(),
        window_kv_indptr=torch.arange(ROWS + 1) * 4,
        window_kv_indices=(pages[:, 1:] + SWA_AHEAD).flatten(),
        attn_logits=None, swa_attn_logits=None, attn_lse=None, num_kv_splits=None,
        window_num_kv_splits=None, window_kv_offsets=None,
    )  # fmt: skip
    named = {
        "token_to_kv_pool": pool, "forward_metadata": metadata, "use_mla": False, "dcp_size": 1,
        "decode_attention_fwd": attention_kernel, "max_kv_splits": 1, "swa_v_head_dim": None,
        "page_size": 1, "use_pdl": False, "use_sliding_window_kv_pool": True,
    }  # fmt: skip
    for name, value in named.items():
        setattr(backend, name, value)
    return backend


def found_by_layers(backend: object) -> AbstractContextManager[object]:
    """The context in which layers find their backend; in 0.5.12 the batch brings it."""
    try:
        from sglang.srt.model_executor import forward_context
    except ImportError:
        return nullcontext()
    return forward_context.forward_context(forward_context.ForwardContext(attn_backend=backend))


def step(kind: str, model: torch.nn.Module) -> list[torch.Tensor]:
    """One decode step from the same caches: the output, then every cache."""
    from sglang.srt.model_executor.forward_batch_info import ForwardMode

    pool = pool_of(kind)
    backend = backend_of(pool)
    batch = SimpleNamespace(
        forward_mode=ForwardMode.DECODE, out_cache_loc=torch.arange(ROWS) * SEEN + SEEN,
        attn_backend=backend, token_to_kv_pool=pool,  # where 0.5.12 finds both
    )  # fmt: skip
    torch.manual_seed(9)
    embeds = torch.randn(ROWS, 64) if kind == "draft" else None
    ids = None if kind == "draft" else torch.tensor([7, 50, 101])
    with torch.no_grad(), found_by_layers(backend):
        output = model(ids, torch.tensor([4, 9, 100]), batch, input_embeds=embeds)
    return [output, *buffers(pool)]


def wrong_slots() -> None:
    place = fused_attention._cache
    fused_attention._cache = lambda *given: (c := place(*given))._replace(slots=c.slots + 1)


def fails_behind_the_launch() -> None:
    def used(calls: object, op: str) -> None:
        raise RuntimeError("one that none of our code expects")

    fused_calls.Calls.used = used


def another_backend() -> None:
    fused_attention._BACKEND = "FlashAttentionBackend"


def a_model_that_changes_the_row() -> None:
    """Between the layers, as one with deep visual features does."""
    put = fused_next_norm.NextNorms.put
    fused_next_norm.NextNorms.put = lambda held, row, *given: put(held, row.clone(), *given)


SPOILS = (
    wrong_slots, fails_behind_the_launch, another_backend,
    a_model_that_changes_the_row,
)  # fmt: skip


def main(wishes: list[str]) -> None:
    kernels = types.ModuleType("vllm._custom_ops")
    kernels.rotary_embedding = None
    sys.modules |= {"vllm": types.ModuleType("vllm"), "vllm._custom_ops": kernels}
    Published(device="cpu")
    from sglang.srt.distributed import parallel_state

    rendezvous = f"file://{tempfile.mkdtemp()}/rendezvous"
    parallel_state.init_distributed_environment(
        world_size=1, rank=0, local_rank=0, backend="gloo", distributed_init_method=rendezvous
    )
    parallel_state.initialize_model_parallel()
    for wish in wishes:
        kind, ops, *spoiled = wish.split(":")
        shells = Shells()
        with (
            mock.patch.multiple(fused_attention, _cache=fused_attention._cache),
            mock.patch.multiple(fused_attention, _BACKEND=fused_attention._BACKEND),
            mock.patch.multiple(fused_calls.Calls, used=fused_calls.Calls.used),
            mock.patch.multiple(fused_next_norm.NextNorms, put=fused_next_norm.NextNorms.put),
            bound(FusedLayers(tuple(ops.split("+")), shells)) as fused,
        ):
            model = made(kind)
            for layer in model.layers if kind == "moe" else ():
                stand_in_for_experts(layer)
            fused.armed = False
            stock = step(kind, model)
            fused.armed = True
            for spoil in SPOILS:
                if spoil.__name__ in spoiled:
                    spoil()
            found = step(kind, model)
        apart = [
            float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, stock, strict=True)
        ]
        said = {
            "wish": wish, "output": apart[0], "caches": max(apart[1:]), "uses": dict(fused.uses),
            "fallbacks": {f"{op}: {why}": n for (op, why), n in fused.fallbacks.items()},
            "off": list(shells.failures), "layers": len(model.layers),
        }  # fmt: skip
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
