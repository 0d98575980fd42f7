"""Decoder layers of Gemma-4 in plain torch, as a compiler is given them.

The norms, rotations, gates and routers are separate operations, as in transformers and in
vLLM's model; attention and the experts are opaque operators, as vLLM makes them, so that a
compiler fuses around them and not into them. Weights are random: what a compiler makes of
a layer depends on shapes and dtypes alone.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from triage_kernels.core.models import EPS, VARIANTS, Variant
from triage_kernels.core.rope import cos_sin_cache, rotate

KINDS = {"dense": "31B", "moe": "26B-A4B", "ple": "E4B"}


def variant_of(kind: str) -> Variant:
    """The model whose layer a kind is."""
    return next(v for v in VARIANTS if v.name == KINDS[kind])


@functools.cache
def declare_operators() -> None:
    """Declare `triage::attention` and `triage::moe_forward`, which compute nothing of interest."""

    def attention(q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
        return q.clone()

    def moe_forward(x: Tensor, weights: Tensor, ids: Tensor) -> Tensor:
        return x.clone()

    for function in (attention, moe_forward):
        operator = torch.library.custom_op(f"triage::{function.__name__}", mutates_args=())(
            function
        )
        operator.register_fake(function)


class Norm(nn.Module):
    def __init__(self, width: int, scale: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width)) if scale else None

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
        if self.weight is not None:
            wide = wide * self.weight.float()
        return wide.to(x.dtype)


class Layer(nn.Module):
    """One layer of `variant`: dense, with experts, or with per-layer inputs.

    `intermediate` is narrow on purpose: the matrix products are not what is fused.
    """

    def __init__(self, variant: Variant, layer: str, intermediate: int, hidden: int) -> None:
        super().__init__()
        self.variant, self.layer = variant, layer
        self.heads, self.kv_heads, self.head_dim = variant.heads(layer)
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv_proj = nn.Linear(hidden, rows, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, hidden, bias=False)
        self.gate_up_proj = nn.Linear(hidden, 2 * intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)
        norms = ["input", "post_attention", "pre_feedforward", "post_feedforward"]
        if variant.moe:
            norms += ["post_feedforward_1", "post_feedforward_2", "pre_feedforward_2"]
            self.router = nn.Linear(hidden, variant.experts, bias=False)
            self.router_scale = nn.Parameter(torch.rand(hidden))
            self.per_expert_scale = nn.Parameter(torch.rand(variant.experts))
            self.router_norm = Norm(hidden, scale=False)
        if variant.per_layer_width:
            norms.append("post_per_layer_input")
            self.per_layer_gate = nn.Linear(hidden, variant.per_layer_width, bias=False)
            self.per_layer_projection = nn.Linear(variant.per_layer_width, hidden, bias=False)
        self.norms = nn.ModuleDict({name: Norm(hidden) for name in norms})
        self.q_norm, self.k_norm = Norm(self.head_dim), Norm(self.head_dim)
        self.v_norm = Norm(self.head_dim, scale=False)
        self.layer_scalar = nn.Parameter(torch.ones(1))
        self.register_buffer("cos_sin", cos_sin_cache(layer, 128))

    def attend(
        self, x: Tensor, positions: Tensor, slots: Tensor, k_cache: Tensor, v_cache: Tensor
    ) -> Tensor:
        sizes = [n * self.head_dim for n in (self.heads, self.kv_heads, self.kv_heads)]
        q, k, v = (
            part.unflatten(-1, (-1, self.head_dim)) for part in self.qkv_proj(x).split(sizes, -1)
        )
        table: Tensor = self.cos_sin  # type: ignore[assignment]
        cos, sin = table[positions].unsqueeze(1).chunk(2, dim=-1)
        q = rotate(self.q_norm(q).float(), cos, sin).to(x.dtype)
        k = rotate(self.k_norm(k).float(), cos, sin).to(x.dtype)
        k_cache.index_copy_(0, slots, k)
        v_cache.index_copy_(0, slots, self.v_norm(v))
        return self.o_proj(torch.ops.triage.attention(q, k_cache, v_cache).flatten(-2))

    def mlp(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(nn.functional.gelu(gate, approximate="tanh") * up)

    def experts(self, residual: Tensor) -> Tensor:
        scaled = self.router_norm(residual) * self.router_scale * residual.shape[-1] ** -0.5
        logits = self.router(scaled)
        top, ids = torch.topk(logits, self.variant.top_k, dim=-1)
        weights = torch.softmax(top, dim=-1, dtype=torch.float32) * self.per_expert_scale[ids]
        x = self.norms["pre_feedforward_2"](residual)
        return torch.ops.triage.moe_forward(x, weights, ids)

    def forward(self, x: Tensor, per_layer: Tensor | None, *attention: Tensor) -> Tensor:
        n = self.norms
        residual = x + n["post_attention"](self.attend(n["input"](x), *attention))
        out = self.mlp(n["pre_feedforward"](residual))
        if self.variant.moe:
            routed = n["post_feedforward_2"](self.experts(residual))
            out = n["post_feedforward_1"](out) + routed
        out = residual + n["post_feedforward"](out)
        if per_layer is not None:
            gated = nn.functional.gelu(self.per_layer_gate(out), approximate="tanh") * per_layer
            out = out + n["post_per_layer_input"](self.per_layer_projection(gated))
        return out * self.layer_scalar


class Stack(nn.Module):
    """Layers one after the other, so that a compiler may fuse across their boundary."""

    def __init__(self, kind: str, layers: int, intermediate: int, hidden: int | None) -> None:
        super().__init__()
        variant = variant_of(kind)
        width = hidden or variant.hidden
        self.layers = nn.ModuleList(
            Layer(variant, "sliding", intermediate, width) for _ in range(layers)
        )

    def forward(self, x: Tensor, per_layer: Tensor | None, *attention: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(x, None if per_layer is None else per_layer[:, number], *attention)
        return x


def arguments(
    kind: str, tokens: int, layers: int, hidden: int | None, **place: Any
) -> tuple[Any, ...]:
    """(x, per-layer inputs or None, positions, slots, K cache, V cache) of a `Stack`."""
    variant = variant_of(kind)
    _, heads, width = variant.heads("sliding")
    ple = variant.per_layer_width
    rows = torch.randn(tokens, hidden or variant.hidden, **place)
    inputs = torch.randn(tokens, layers, ple, **place) if ple else None
    index = torch.arange(tokens, device=place.get("device"))
    caches = torch.zeros(2, 4 * tokens, heads, width, **place)
    return rows, inputs, index, index, caches[0], caches[1]
