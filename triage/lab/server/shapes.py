"""Gemma-4's shapes as models that SGLang can load: a `config.json`, no weights from anywhere.

The text model alone, as `Gemma4ForCausalLM` with model_type `gemma4_text`: the
multimodal class builds an image processor even without a tokenizer. SGLang
rewrites the head fields of the multimodal config (base fields mean sliding
layers there, full layers in SGLang) but not those of `gemma4_text`, so they are
written here the way SGLang reads them, `swa_*` for the sliding layers.

Three things differ from the published models, and `notes` says so: a
head_dim limit where the decode kernel has one, an assistant whose vocabulary is
not ordered by centroids (random weights have no order), and no vision tower.

Source of the dimensions: Hugging Face transformers' conversion scripts and
configuration defaults; of the assistants, the published E2B and 12B ones: hidden
256 beside the small targets, 1024 beside the others, four layers, and always the
target's heads of keys and values, which are all they read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triage.errors import LabError, did_you_mean

SMALL_VOCAB = 4096
FULL_VOCAB = 262_144


@dataclass(frozen=True, slots=True)
class Assistant:
    """The MTP draft: four layers over the target's keys and values."""

    hidden: int
    intermediate: int
    q_heads: int
    layers: int = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of one Gemma-4 text model. Pairs are (sliding layers, full layers).

    full_every: every so-manieth layer attends to everything, the others to `window` tokens.
    kv_shared: so many of the last layers read the keys and values of earlier ones.
    per_layer: width of the per-layer embeddings, 0 for a model without.
    """

    name: str
    hidden: int
    intermediate: int
    layers: int
    full_every: int
    q_heads: int
    kv_heads: tuple[int, int]
    assistant: Assistant
    head_dim: tuple[int, int] = (256, 512)
    window: int = 512
    kv_shared: int = 0
    double_wide_shared: bool = False
    per_layer: int = 0
    k_eq_v: bool = False
    experts: int = 0
    top_k: int = 0
    expert_intermediate: int = 0
    vocab: int = FULL_VOCAB
    max_positions: int = 131_072

    @property
    def layer_types(self) -> list[str]:
        return _layer_types(self.layers, self.full_every)


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape(
            "E2B", 1536, 6144, 35, 5, 8, (1, 1), Assistant(256, 2048, 4),
            kv_shared=20, double_wide_shared=True, per_layer=256,
        ),
        Shape("E4B", 2560, 10240, 42, 6, 8, (2, 2), Assistant(256, 2048, 4),
              kv_shared=18, per_layer=256),
        Shape(
            "26B-A4B", 2816, 2112, 30, 6, 16, (8, 2), Assistant(1024, 8192, 16),
            window=1024, k_eq_v=True, experts=128, top_k=8, expert_intermediate=704,
            max_positions=262_144,
        ),
        Shape(
            "31B", 5376, 21504, 60, 6, 32, (16, 4), Assistant(1024, 8192, 32),
            window=1024, k_eq_v=True, max_positions=262_144,
        ),
    )
}  # fmt: skip


def find(name: str) -> Shape:
    """The shape called `name` (case and a leading `gemma-4-` do not matter), or LabError."""
    wanted = name.lower().removeprefix("gemma-4-").removeprefix("gemma4-")
    for known, shape in SHAPES.items():
        if wanted in (known.lower(), known.lower().partition("-")[0]):
            return shape
    raise LabError(f"no shape {name!r}{did_you_mean(name, SHAPES)}; known: {', '.join(SHAPES)}")


def shrunk(shape: Shape) -> Shape:
    """`shape` as small as a quick start wants: two periods of layers, narrow, few words.

    Kept, because they decide addresses and kernels: the layer pattern, which layers share
    keys and values, heads and head sizes, the window, K == V, per-layer embeddings and experts.
    """
    return replace(
        shape,
        hidden=512,
        intermediate=1024,
        layers=2 * shape.full_every,
        kv_shared=shape.full_every if shape.kv_shared else 0,
        per_layer=64 if shape.per_layer else 0,
        experts=min(shape.experts, 8),
        top_k=min(shape.top_k, 2),
        expert_intermediate=256 if shape.experts else 0,
        vocab=SMALL_VOCAB,
        max_positions=16_384,
        assistant=replace(shape.assistant, hidden=256, intermediate=512),
    )


def limited(shape: Shape, head_dim_limit: int | None) -> Shape:
    """`shape` with no head larger than `head_dim_limit`; None leaves it as it is."""
    if head_dim_limit is None:
        return shape
    sliding, full = shape.head_dim
    return replace(shape, head_dim=(min(sliding, head_dim_limit), min(full, head_dim_limit)))


def target_config(shape: Shape) -> dict[str, Any]:
    """`config.json` of the target, head fields as SGLang reads them: base full, `swa_*` sliding."""
    return {
        "architectures": ["Gemma4ForCausalLM"],
        "model_type": "gemma4_text",
        **_common(shape, shape.hidden, shape.intermediate, shape.q_heads, shape.layer_types),
        "num_key_value_heads": shape.kv_heads[1],
        "num_global_key_value_heads": shape.kv_heads[1],
        "swa_num_key_value_heads": shape.kv_heads[0],
        "head_dim": shape.head_dim[1],
        "v_head_dim": shape.head_dim[1],
        "global_head_dim": shape.head_dim[1],
        "swa_head_dim": shape.head_dim[0],
        "swa_v_head_dim": shape.head_dim[0],
        "num_kv_shared_layers": shape.kv_shared,
        "hidden_size_per_layer_input": shape.per_layer,
        "vocab_size_per_layer_input": shape.vocab if shape.per_layer else 0,
        "final_logit_softcapping": 30.0,
        "use_double_wide_mlp": shape.double_wide_shared,
        "attention_k_eq_v": shape.k_eq_v,
        "enable_moe_block": shape.experts > 0,
        "num_experts": shape.experts or None,
        "top_k_experts": shape.top_k or None,
        "moe_intermediate_size": shape.expert_intermediate or None,
    }


def assistant_config(shape: Shape) -> dict[str, Any]:
    """`config.json` of the shape's assistant, in Hugging Face's form, which SGLang rewrites."""
    assistant = shape.assistant
    layer_types = _layer_types(assistant.layers, assistant.layers)
    return {
        "architectures": ["Gemma4AssistantForCausalLM"],
        "model_type": "gemma4_assistant",
        "dtype": "bfloat16",
        "backbone_hidden_size": shape.hidden,
        "use_ordered_embeddings": False,
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": "gemma4_text",
            **_common(
                shape, assistant.hidden, assistant.intermediate, assistant.q_heads, layer_types
            ),
            "num_key_value_heads": shape.kv_heads[0],
            "num_global_key_value_heads": shape.kv_heads[1],
            "head_dim": shape.head_dim[0],
            "global_head_dim": shape.head_dim[1],
            "num_kv_shared_layers": assistant.layers,
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
            "use_double_wide_mlp": False,
            "attention_k_eq_v": False,
            "enable_moe_block": False,
        },
    }


def notes(shape: str, *, assistant: bool, head_dim_limit: int | None) -> list[str]:
    """What of the model differs from the published one, beside its weights; a sentence each."""
    found = find(shape)
    said = []
    if limited(found, head_dim_limit) != found:
        said.append(
            f"global_head_dim is {head_dim_limit} instead of {found.head_dim[1]}: "
            "the decode kernel takes no larger head here; --attention triton serves true sizes"
        )
    if assistant:
        said.append("the assistant's vocabulary is not ordered by centroids: weights are random")
    return said


def parameters(shape: Shape) -> int:
    """Weights of the target, in elements, for a guess of the memory it needs."""
    (sliding_dim, full_dim), (sliding_kv, full_kv) = shape.head_dim, shape.kv_heads
    total = shape.vocab * shape.hidden
    total += shape.vocab * shape.layers * shape.per_layer
    for index, kind in enumerate(shape.layer_types):
        full = kind == "full_attention"
        dim, kv = (full_dim, full_kv) if full else (sliding_dim, sliding_kv)
        wide = 2 if shape.double_wide_shared and index >= shape.layers - shape.kv_shared else 1
        total += shape.hidden * dim * 2 * (shape.q_heads + kv)
        total += 3 * shape.hidden * shape.intermediate * wide
        total += 3 * shape.hidden * shape.expert_intermediate * shape.experts
    return total


def pool_bytes(shape: Shape, full_tokens: int, swa_ratio: float) -> int:
    """Bytes of the two KV pools, keys and values in 16 bits; layers that share have theirs too."""
    total = 0.0
    for at, (kind, tokens) in enumerate(
        (("sliding_attention", swa_ratio * full_tokens), ("full_attention", full_tokens))
    ):
        layers = shape.layer_types.count(kind)
        total += layers * tokens * shape.kv_heads[at] * shape.head_dim[at] * 2 * 2
    return int(total)


def write_model(
    directory: Path,
    shape: str | Shape,
    *,
    small: bool,
    assistant: bool = False,
    head_dim_limit: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a model of `shape` into `directory` and return that folder.

    Small shapes get a seeded checkpoint beside their `config.json`; others are served with
    SGLang's `--load-format dummy`.

    shape: a name of SHAPES, or dimensions of one's own.
    small: `shrunk` dimensions.
    assistant: the shape's MTP assistant instead of the shape.
    head_dim_limit: 256 where trtllm_mha's kernel takes no larger head; None for true sizes.
    Raises LabError for an unknown shape, listing the known ones.
    """
    dimensions = limited(find(shape) if isinstance(shape, str) else shape, head_dim_limit)
    if small:
        dimensions = shrunk(dimensions)
    directory.mkdir(parents=True, exist_ok=True)
    config = assistant_config(dimensions) if assistant else target_config(dimensions)
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    if small:
        from triage.lab.server.checkpoint import write_checkpoint

        write_checkpoint(directory, config, seed=seed)
    return directory


def _common(
    shape: Shape, hidden: int, intermediate: int, q_heads: int, layer_types: list[str]
) -> dict[str, Any]:
    return {
        "dtype": "bfloat16",
        "vocab_size": shape.vocab,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": len(layer_types),
        "num_attention_heads": q_heads,
        "sliding_window": shape.window,
        "layer_types": layer_types,
        "tie_word_embeddings": True,
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": 1e-6,
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "pad_token_id": 0,
    }


def _layer_types(layers: int, full_every: int) -> list[str]:
    return [
        "sliding_attention" if (index + 1) % full_every else "full_attention"
        for index in range(layers)
    ]
