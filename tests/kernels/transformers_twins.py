"""The eager twins against an independent oracle: the Gemma-4 modules of transformers.

Everything in fp32, where both sides are free of rounding points and must agree to a few
units of 2^-24. `test_twins.py` runs this file in a process of its own: importing these
modules needs operators of torchvision declared, once a process.

Long because each twin is held against its module with the same weights and noise.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from triage_kernels.core.models import EPS, HEAD_DIM, VARIANTS, Variant
from triage_kernels.core.reference import norm_eager
from triage_kernels.core.rope import cos_sin_cache, rotary_angles
from triage_kernels.ops.attention_preamble import gemma_attention_preamble_eager
from triage_kernels.ops.dual_rmsnorm import gemma_dual_rmsnorm_residual_scalar_eager
from triage_kernels.ops.gelu_tanh_mul import gemma_gelu_tanh_mul_eager
from triage_kernels.ops.layer_tail import gemma_layer_tail_next_norm_eager
from triage_kernels.ops.post_attn_triple import (
    gemma_post_attn_triple_rmsnorm_eager,
    router_norm_weight,
)
from triage_kernels.ops.qkv_rmsnorm import gemma_qkv_rmsnorm_eager
from triage_kernels.ops.rmsnorm_add import gemma_rmsnorm_add_eager
from triage_kernels.ops.rmsnorm_residual_scalar import gemma_rmsnorm_residual_scalar_eager
from triage_kernels.ops.routing import gemma4_fused_routing_eager
from triage_kernels.validate.providers import declare_torchvision_operators

declare_torchvision_operators()
gemma4 = pytest.importorskip("transformers.models.gemma4.modeling_gemma4")
config_of = pytest.importorskip("transformers.models.gemma4.configuration_gemma4")

HIDDEN = 96
# Every variant's width, beside a narrow one that is no multiple of a tile.
DENSE = (HIDDEN, *(v.hidden for v in VARIANTS if not v.moe and not v.per_layer_width))
MOE = (HIDDEN, *(v.hidden for v in VARIANTS if v.moe))
PER_LAYER = ((HIDDEN, 32), *((v.hidden, v.per_layer_width) for v in VARIANTS if v.per_layer_width))
LAYER_TYPES = ["sliding_attention", "full_attention"]
LAYER_NAME = {"sliding": "sliding_attention", "full": "full_attention"}


def config(**changes: object):
    """A narrow model with the real head dimensions, thetas and rotary fractions."""
    values = {
        "hidden_size": HIDDEN,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_global_key_value_heads": 2,
        "head_dim": HEAD_DIM["sliding"],
        "global_head_dim": HEAD_DIM["full"],
        "layer_types": LAYER_TYPES,
        "vocab_size": 32,
        "vocab_size_per_layer_input": 32,
        "hidden_size_per_layer_input": 0,
        "num_kv_shared_layers": 0,
        "rms_norm_eps": EPS,
        "_attn_implementation": "eager",
        **changes,
    }
    return config_of.Gemma4TextConfig(**values)


def randomise(module: nn.Module) -> nn.Module:
    """Random parameters and layer scalar, from a fixed seed."""
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    for name, buffer in module.named_buffers():
        if name.endswith("layer_scalar"):
            buffer.fill_(0.8203125)
    return module.eval()


def noise(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Given(nn.Module):
    """Stands where attention or an MLP is, and returns what the test gives it."""

    def __init__(self, value: Tensor, pair: bool = False) -> None:
        super().__init__()
        self.value, self.pair = value, pair
        self.seen: list[Tensor] = []

    def forward(self, *args: Tensor, **kwargs: Tensor):
        self.seen.append(args[0] if args else kwargs["hidden_states"])
        return (self.value, None) if self.pair else self.value


@pytest.mark.parametrize("with_scale", [True, False])
def test_a_norm_is_gemma4_rmsnorm(with_scale: bool) -> None:
    module = randomise(gemma4.Gemma4RMSNorm(HIDDEN, eps=EPS, with_scale=with_scale))
    x = noise(7, HIDDEN)
    weight = module.weight if with_scale else None
    torch.testing.assert_close(norm_eager(x, weight, EPS), module(x), rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_routing_and_the_folded_router_weight_are_gemma4_text_router() -> None:
    # GIVEN the router of transformers: norm, scale, projection, softmax over all, top-k
    router = randomise(
        gemma4.Gemma4TextRouter(config(num_experts=16, top_k_experts=4, enable_moe_block=True))
    )
    x = noise(9, HIDDEN)
    _, weights, ids = router(x)
    # WHEN its norm weight is folded and its top-k weights come from the twin
    folded = router_norm_weight(router.scale, HIDDEN)
    logits = router.proj(norm_eager(x, folded, EPS))
    got_weights, got_ids = gemma4_fused_routing_eager(logits, router.per_expert_scale, 4)
    # THEN the selection and the weights agree
    assert torch.equal(got_ids.long(), ids)
    torch.testing.assert_close(got_weights, weights, rtol=2e-5, atol=1e-6)


def layer_with_given(moe: bool, per_layer: int = 0, hidden: int = HIDDEN, layer=None):
    """A decoder layer whose attention, MLP and experts return given values."""
    cfg = config(
        hidden_size=hidden,
        enable_moe_block=moe,
        num_experts=8,
        top_k_experts=2,
        moe_intermediate_size=16,
        hidden_size_per_layer_input=per_layer,
    )
    layer = layer or gemma4.Gemma4TextDecoderLayer(cfg, 0)
    randomise(layer)
    layer.self_attn = Given(noise(1, 6, hidden, seed=11), pair=True)
    layer.mlp = Given(noise(1, 6, hidden, seed=12))
    if moe:
        layer.experts = Given(noise(6, hidden, seed=13))
    return layer


@pytest.mark.parametrize("width", DENSE)
@torch.no_grad()
def test_the_dense_tail_is_that_of_gemma4_text_decoder_layer(width: int) -> None:
    assert_dense_tail(layer_with_given(moe=False, hidden=width), width)


def assert_dense_tail(layer: nn.Module, width: int) -> None:
    hidden = noise(1, 6, width)
    want = layer(hidden)
    residual = gemma_rmsnorm_add_eager(
        layer.self_attn.value[0], layer.post_attention_layernorm.weight, hidden[0]
    )
    tail = (
        layer.mlp.value[0],
        layer.post_feedforward_layernorm.weight,
        residual,
        layer.layer_scalar,
    )
    got = gemma_rmsnorm_residual_scalar_eager(*tail)
    torch.testing.assert_close(got, want[0], rtol=1e-5, atol=1e-5)
    # AND the input norm of the next layer follows it
    next_norm = layer.input_layernorm
    _, normed = gemma_layer_tail_next_norm_eager(*tail, next_weight=next_norm.weight)
    torch.testing.assert_close(normed, next_norm(want)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", MOE)
@torch.no_grad()
def test_the_moe_block_is_that_of_gemma4_text_decoder_layer(width: int) -> None:
    layer = layer_with_given(moe=True, hidden=width)
    hidden = noise(1, 6, width)
    router_inputs: list[Tensor] = []
    layer.router.proj.register_forward_pre_hook(lambda _, args: router_inputs.append(args[0]))
    want = layer(hidden)
    # WHEN the triple norm replaces the norms between attention and the three branches
    residual, router, dense, moe = gemma_post_attn_triple_rmsnorm_eager(
        layer.self_attn.value[0],
        hidden[0],
        layer.post_attention_layernorm.weight,
        router_norm_weight(layer.router.scale, width),
        layer.pre_feedforward_layernorm.weight,
        layer.pre_feedforward_layernorm_2.weight,
    )
    # THEN each branch sees what it saw, and the dual norm ends the layer alike
    torch.testing.assert_close(router, router_inputs[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(dense, layer.mlp.seen[0][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(moe, layer.experts.seen[0], rtol=1e-5, atol=1e-5)
    got = gemma_dual_rmsnorm_residual_scalar_eager(
        layer.mlp.value[0],
        layer.post_feedforward_layernorm_1.weight,
        layer.experts.value,
        layer.post_feedforward_layernorm_2.weight,
        layer.post_feedforward_layernorm.weight,
        residual,
        layer.layer_scalar,
    )
    torch.testing.assert_close(got, want[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("width", "per_layer_width"), PER_LAYER)
@torch.no_grad()
def test_the_per_layer_tail_is_that_of_gemma4_text_decoder_layer(
    width: int, per_layer_width: int
) -> None:
    layer = layer_with_given(moe=False, per_layer=per_layer_width, hidden=width)
    hidden, per_layer = noise(1, 6, width), noise(1, 6, per_layer_width, seed=14)
    want = layer(hidden, per_layer)
    residual = gemma_rmsnorm_add_eager(
        layer.self_attn.value[0], layer.post_attention_layernorm.weight, hidden[0]
    )
    residual = gemma_rmsnorm_add_eager(
        layer.mlp.value[0], layer.post_feedforward_layernorm.weight, residual
    )
    gated = gemma_gelu_tanh_mul_eager(layer.per_layer_input_gate(residual), per_layer[0])
    got = gemma_rmsnorm_residual_scalar_eager(
        layer.per_layer_projection(gated),
        layer.post_per_layer_input_norm.weight,
        residual,
        layer.layer_scalar,
    )
    torch.testing.assert_close(got, want[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", ["sliding", "full"])
def test_the_rotary_table_is_gemma4_text_rotary_embedding(layer: str) -> None:
    module = gemma4.Gemma4TextRotaryEmbedding(config())
    positions = torch.arange(1000)[None]
    cos, sin = module(torch.zeros(1), positions, layer_type=LAYER_NAME[layer])
    half = HEAD_DIM[layer] // 2
    table = cos_sin_cache(layer, 1000)
    torch.testing.assert_close(table[:, :half], cos[0, :, :half], rtol=0, atol=2e-4)
    torch.testing.assert_close(table[:, half:], sin[0, :, :half], rtol=0, atol=2e-4)
    # AND the pairs past the last angle do not turn
    still = table[:, rotary_angles(layer) : half]
    assert bool((still == 1).all())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
@pytest.mark.parametrize("layer", ["sliding", "full"])
@torch.no_grad()
def test_the_preamble_is_that_of_gemma4_text_attention(
    layer: str, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN attention of transformers that hands out its query, key and value
    k_eq_v = variant.shared_kv_projection
    heads, kv_heads, _ = variant.heads(layer)
    cfg = config(
        attention_k_eq_v=k_eq_v,
        num_attention_heads=heads,
        num_key_value_heads=variant.kv_heads[0],
        num_global_key_value_heads=variant.kv_heads[1],
    )
    index = LAYER_TYPES.index(LAYER_NAME[layer])
    attention = randomise(gemma4.Gemma4TextAttention(cfg, index))
    seen: dict[str, Tensor] = {}

    def capture(module, query, key, value, mask, **kwargs):
        seen.update(q=query, k=key, v=value)
        return query.transpose(1, 2), None

    monkeypatch.setattr(gemma4, "eager_attention_forward", capture)
    tokens, d = 5, HEAD_DIM[layer]
    hidden = noise(1, tokens, HIDDEN)
    table = cos_sin_cache(layer, 64)
    positions = torch.tensor([0, 3, 17, 40, 63])
    cos, sin = (torch.cat((t, t), -1)[None] for t in table[positions].chunk(2, dim=-1))
    attention(hidden, (cos, sin), None, {})
    # WHEN the twin gets the same projections
    k_cache, v_cache = torch.zeros(2, 9, kv_heads, d)
    slots = torch.tensor([4, 0, 8, 2, 6])
    shared = attention.v_proj is None
    q, _, _ = gemma_attention_preamble_eager(
        attention.q_proj(hidden)[0],
        attention.k_proj(hidden)[0],
        None if shared else attention.v_proj(hidden)[0],
        attention.q_norm.weight,
        attention.k_norm.weight,
        table,
        positions,
        slots,
        k_cache,
        v_cache,
        num_q_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=d,
        rotary_angles=rotary_angles(layer),
    )
    # THEN query, and key and value at their slots, are those attention saw
    assert shared == (k_eq_v and layer == "full")
    want = {name: t[0].transpose(0, 1) for name, t in seen.items()}
    torch.testing.assert_close(q.unflatten(-1, (heads, d)), want["q"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(k_cache[slots], want["k"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(v_cache[slots], want["v"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", ["sliding", "full"])
@torch.no_grad()
def test_the_assistant_takes_the_same_tail_and_a_preamble_of_its_query_alone(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN the assistant of transformers, whose layers all read the target's keys and values
    assistant = pytest.importorskip(
        "transformers.models.gemma4_assistant.modeling_gemma4_assistant"
    )
    settings = pytest.importorskip(
        "transformers.models.gemma4_assistant.configuration_gemma4_assistant"
    )
    text = config(vocab_size_per_layer_input=0, num_kv_shared_layers=2)
    model = assistant.Gemma4AssistantForCausalLM(
        settings.Gemma4AssistantConfig(text_config=text, backbone_hidden_size=HIDDEN)
    )
    decoder = model.model.layers[LAYER_TYPES.index(LAYER_NAME[layer])]
    attention = randomise(decoder.self_attn)
    attention.config._attn_implementation = "eager"
    assert attention.is_kv_shared_layer
    seen: dict[str, Tensor] = {}

    def capture(module, query, key, value, mask, **kwargs):
        seen.update(q=query)
        return query.transpose(1, 2), None

    monkeypatch.setattr(gemma4, "eager_attention_forward", capture)
    d, hidden = HEAD_DIM[layer], noise(1, 5, HIDDEN)
    table, positions = cos_sin_cache(layer, 64), torch.tensor([0, 3, 17, 40, 63])
    cos, sin = (torch.cat((t, t), -1)[None] for t in table[positions].chunk(2, dim=-1))
    shared = {name: (noise(1, 2, 7, d), noise(1, 2, 7, d)) for name in LAYER_TYPES}
    attention(hidden, (cos, sin), None, shared)
    # THEN the preamble without key and value gives its query
    (q,) = gemma_attention_preamble_eager(
        attention.q_proj(hidden)[0],
        None,
        None,
        attention.q_norm.weight,
        None,
        table,
        positions,
        None,
        None,
        None,
        num_q_heads=4,
        num_kv_heads=2,
        head_dim=d,
        rotary_angles=rotary_angles(layer),
    )
    want = seen["q"][0].transpose(0, 1)
    torch.testing.assert_close(q.unflatten(-1, (4, d)), want, rtol=1e-5, atol=1e-5)
    # AND its layers end as the target's dense ones do
    assert_dense_tail(layer_with_given(moe=False, layer=decoder), HIDDEN)


def test_the_per_head_norm_is_gemma4_rmsnorm_of_each_head() -> None:
    norm = randomise(gemma4.Gemma4RMSNorm(256, eps=EPS))
    bare = gemma4.Gemma4RMSNorm(256, eps=EPS, with_scale=False)
    q, k, v = (noise(3, n * 256, seed=n) for n in (4, 2, 3))
    v = v[:, : 2 * 256].contiguous()
    want = (norm(q.view(3, 4, 256)), norm(k.view(3, 2, 256)), bare(v.view(3, 2, 256)))
    got = gemma_qkv_rmsnorm_eager(q, k, v, norm.weight, norm.weight, 4, 2, 256)
    for mine, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(mine, theirs.flatten(-2), rtol=1e-6, atol=1e-6)


def test_gelu_has_the_specials_and_the_values_of_torch() -> None:
    gate = torch.tensor([[-torch.inf, torch.inf, torch.nan, -30.0, 0.0, -0.0, 1e30, -1e30, 2.5]])
    got = gemma_gelu_tanh_mul_eager(gate, torch.ones_like(gate))
    want = torch.nn.functional.gelu(gate, approximate="tanh")
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6, equal_nan=True)
