"""Seeded weights in which attention decides the tokens: one wrong page shows in the output.

SGLang's `--load-format dummy` draws every weight within 1e-3, norms and layer
scalars too: each layer then shrinks what came before it a thousandfold, scores are
nearly equal, and the answer is one token said again and again. Here norms are near
1 and each matrix is scaled by its fan-in, so every layer's output is as large as
its input. Two numbers were chosen by measuring a CPU replica (E4B small, 320 tokens,
one foreign page of 64, 48 tokens after it, each fed the sound tokens):

    SHARPNESS 0.25   41 of 48 tokens change with the page, 1 with float32 for bfloat16
    SHARPNESS 0.5    45 change with the page, 42 with the precision: chaos, not attention

Names are those of the published checkpoints, which SGLang's loaders map
(`sglang/srt/models/gemma4_causal.py`, `gemma4_mtp.py`: load_weights). Layers that share
keys and values get their unread projections too, so that no parameter stays
uninitialised memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

FILE = "model.safetensors"

SHARPNESS = 0.25
"""Size of the q and k norms. Scores have standard deviation SHARPNESS^2 * sqrt(head_dim): 1."""

EMBEDDING = 0.1
"""Size of the token embeddings, in that of a layer's output: below, no token repeats itself."""


class Weight(NamedTuple):
    """One tensor of a checkpoint: its entries have mean `mean` and standard deviation `spread`."""

    name: str
    shape: tuple[int, ...]
    mean: float
    spread: float


def weights(config: dict[str, Any]) -> Iterator[Weight]:
    """Every tensor that a model of this `config.json` loads, target or assistant."""
    if "text_config" not in config:
        yield from _text_model(config, assistant=False)
        return
    text, backbone = config["text_config"], config["backbone_hidden_size"]
    hidden = text["hidden_size"]
    yield _matrix("pre_projection", hidden, 2 * backbone)
    yield _matrix("post_projection", backbone, hidden)
    yield from _text_model(text, assistant=True)


def write_checkpoint(directory: Path, config: dict[str, Any], *, seed: int = 0) -> Path:
    """Write the weights of `config` as one safetensors file; the same bytes for the same seed.

    Needs torch and safetensors, which SGLang brings. About a second for a small shape.
    """
    return write_tensors(directory, weights(config), seed=seed)


def write_tensors(directory: Path, drawn: Iterable[Weight], *, seed: int = 0) -> Path:
    """Draw each of `drawn` and write all as one safetensors file. As `write_checkpoint`."""
    import torch
    from safetensors.torch import save_file

    tensors = {}
    for weight in drawn:
        draw = torch.Generator().manual_seed(zlib.crc32(weight.name.encode(), seed))
        entries = torch.randn(weight.shape, generator=draw, dtype=torch.float32)
        tensors[weight.name] = entries.mul_(weight.spread).add_(weight.mean).to(torch.bfloat16)
    path = directory / FILE
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def _text_model(config: dict[str, Any], *, assistant: bool) -> Iterator[Weight]:
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    per_layer = config["hidden_size_per_layer_input"]
    # The model multiplies an embedding by sqrt(hidden), and reads logits from the same matrix.
    yield Weight(
        "model.embed_tokens.weight", (config["vocab_size"], hidden), 0.0, EMBEDDING / hidden**0.5
    )
    if per_layer:
        shape = (config["vocab_size_per_layer_input"], layers * per_layer)
        yield Weight("model.embed_tokens_per_layer.weight", shape, 0.0, per_layer**-0.5)
        yield _matrix("model.per_layer_model_projection", layers * per_layer, hidden)
        yield _norm("model.per_layer_projection_norm", per_layer)
    for index, kind in enumerate(config["layer_types"]):
        yield from _layer(f"model.layers.{index}", index, kind, config, assistant=assistant)
    yield _norm("model.norm", hidden)


def _layer(
    name: str, index: int, kind: str, config: dict[str, Any], *, assistant: bool
) -> Iterator[Weight]:
    hidden, per_layer = config["hidden_size"], config["hidden_size_per_layer_input"]
    yield from _attention(f"{name}.self_attn", kind, config, assistant=assistant)
    shares = index >= config["num_hidden_layers"] - config["num_kv_shared_layers"]
    wide = 2 if config["use_double_wide_mlp"] and shares else 1
    intermediate = config["intermediate_size"] * wide
    yield _matrix(f"{name}.mlp.gate_proj", intermediate, hidden)
    yield _matrix(f"{name}.mlp.up_proj", intermediate, hidden)
    yield _matrix(f"{name}.mlp.down_proj", hidden, intermediate)
    norms = ["input", "post_attention", "pre_feedforward", "post_feedforward"]
    for norm in norms:
        yield _norm(f"{name}.{norm}_layernorm", hidden)
    if per_layer:
        yield _matrix(f"{name}.per_layer_input_gate", per_layer, hidden)
        yield _matrix(f"{name}.per_layer_projection", hidden, per_layer)
        yield _norm(f"{name}.post_per_layer_input_norm", hidden)
    if config["enable_moe_block"]:
        yield from _experts(name, config)
    yield Weight(f"{name}.layer_scalar", (1,), 1.0, 0.0)


def _attention(
    name: str, kind: str, config: dict[str, Any], *, assistant: bool
) -> Iterator[Weight]:
    hidden, full = config["hidden_size"], kind == "full_attention"
    if assistant:  # Hugging Face's form: base fields are those of sliding layers
        dim = config["global_head_dim" if full else "head_dim"]
        kv_heads = config["num_global_key_value_heads" if full else "num_key_value_heads"]
    else:
        dim = config["head_dim" if full else "swa_head_dim"]
        kv_heads = config["num_key_value_heads" if full else "swa_num_key_value_heads"]
    q_size, kv_size = config["num_attention_heads"] * dim, kv_heads * dim
    yield _matrix(f"{name}.q_proj", q_size, hidden)
    yield _matrix(f"{name}.k_proj", kv_size, hidden)
    if not (full and config["attention_k_eq_v"]):
        yield _matrix(f"{name}.v_proj", kv_size, hidden)
    yield _matrix(f"{name}.o_proj", hidden, q_size)
    # A full layer's heads may be larger; the scores' spread is to be the same.
    size = SHARPNESS * (256 / dim) ** 0.25
    yield Weight(f"{name}.q_norm.weight", (dim,), size, 0.05 * size)
    yield Weight(f"{name}.k_norm.weight", (dim,), size, 0.05 * size)


def _experts(name: str, config: dict[str, Any]) -> Iterator[Weight]:
    hidden, experts = config["hidden_size"], config["num_experts"]
    inner = config["moe_intermediate_size"]
    for norm in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2"):
        yield _norm(f"{name}.{norm}", hidden)
    yield _norm(f"{name}.pre_feedforward_layernorm_2", hidden)
    # The router multiplies its normalised input by hidden^-0.5 itself.
    yield Weight(f"{name}.router.proj.weight", (experts, hidden), 0.0, 2.0)
    yield Weight(f"{name}.router.scale", (hidden,), 1.0, 0.05)
    yield Weight(f"{name}.router.per_expert_scale", (experts,), 1.0, 0.05)
    yield Weight(f"{name}.experts.gate_up_proj", (experts, 2 * inner, hidden), 0.0, hidden**-0.5)
    yield Weight(f"{name}.experts.down_proj", (experts, hidden, inner), 0.0, inner**-0.5)


def _matrix(name: str, out: int, fan_in: int) -> Weight:
    return Weight(f"{name}.weight", (out, fan_in), 0.0, fan_in**-0.5)


def _norm(name: str, width: int) -> Weight:
    return Weight(f"{name}.weight", (width,), 1.0, 0.05)
