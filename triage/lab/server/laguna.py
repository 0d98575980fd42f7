"""A small Laguna, SGLang's other hybrid model that its own FlashInfer backend (fa2) serves.

SGLang refuses FlashInfer for Gemma-4, and keeps no SWA pool for Gemma-3. Laguna has both: layers
that slide and layers that do not, a `SWAKVPool`, and no attention backend that it insists on
(`sglang/srt/models/laguna.py`, `is_hybrid_swa_model`; in every release from 0.5.12.post1 on).
Its configuration class is SGLang's own. Left out: experts (every layer's MLP is dense) and the gate
of the attention's output; neither touches the cache.

One head size of 128 and four queries to a head of keys: FlashInfer then decodes with the kernel of
its paged prefill, so that one module is compiled where none is cached.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triage.lab.server.checkpoint import Weight, write_tensors
from triage.lab.server.shapes import SMALL_VOCAB

AVERAGED = 16.0
"""What attention averages is a sixteenth as large as one value, over some hundred tokens."""

ENVIRONMENT = {"SGLANG_FLASHINFER_USE_PAGED": "1"}
"""SGLang's variable: prefill reads the cache too, as decode does, through the same module. Without
it prompts go through FlashInfer's ragged wrapper, which on sm_90 is another kernel to compile."""


def config() -> dict[str, Any]:
    """`config.json`: eight layers, every fourth attends to everything, the others to 512 tokens."""
    layers = 8
    return {
        "architectures": ["LagunaForCausalLM"],
        "model_type": "laguna",
        "dtype": "bfloat16",
        "vocab_size": SMALL_VOCAB,
        "hidden_size": 512,
        "intermediate_size": 1024,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "sliding_window": 512,
        "layer_types": [
            "sliding_attention" if (index + 1) % 4 else "full_attention" for index in range(layers)
        ],
        "mlp_layer_types": ["dense"] * layers,
        "gating": False,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
        "tie_word_embeddings": False,
        "max_position_embeddings": 16_384,
        "rms_norm_eps": 1e-6,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "pad_token_id": 0,
    }


def weights(config: dict[str, Any]) -> Iterator[Weight]:
    """Every tensor that the model loads. Norms are near 1, matrices scaled by their fan-in."""
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    q_size = config["num_attention_heads"] * config["head_dim"]
    kv_size = config["num_key_value_heads"] * config["head_dim"]
    yield Weight("model.embed_tokens.weight", (config["vocab_size"], hidden), 0.0, 1.0)
    yield _matrix("lm_head", config["vocab_size"], hidden)
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        yield _matrix(f"{layer}.self_attn.q_proj", q_size, hidden)
        yield _matrix(f"{layer}.self_attn.k_proj", kv_size, hidden)
        yield _matrix(f"{layer}.self_attn.v_proj", kv_size, hidden)
        yield _matrix(f"{layer}.self_attn.o_proj", hidden, q_size, AVERAGED)
        yield _norm(f"{layer}.self_attn.q_norm", config["head_dim"])
        yield _norm(f"{layer}.self_attn.k_norm", config["head_dim"])
        yield _matrix(f"{layer}.mlp.gate_proj", intermediate, hidden)
        yield _matrix(f"{layer}.mlp.up_proj", intermediate, hidden)
        yield _matrix(f"{layer}.mlp.down_proj", hidden, intermediate)
        yield _norm(f"{layer}.input_layernorm", hidden)
        yield _norm(f"{layer}.post_attention_layernorm", hidden)
    yield _norm("model.norm", hidden)


def write_model(directory: Path, *, seed: int = 0) -> Path:
    """Write `config.json` and seeded weights (some 40 MB) into `directory` and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    mine = config()
    (directory / "config.json").write_text(json.dumps(mine, indent=1) + "\n")
    write_tensors(directory, weights(mine), seed=seed)
    return directory


def _matrix(name: str, out: int, fan_in: int, size: float = 1.0) -> Weight:
    return Weight(f"{name}.weight", (out, fan_in), 0.0, size * fan_in**-0.5)


def _norm(name: str, width: int) -> Weight:
    return Weight(f"{name}.weight", (width,), 1.0, 0.05)
