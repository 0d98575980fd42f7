"""Dimensions of the Gemma-4 text models, as the kernels see them.

Source: the conversion scripts and configuration defaults of Hugging Face
transformers; the 12B window is second-hand and not used here.
"""

from __future__ import annotations

from dataclasses import dataclass

EPS = 1e-6
ROPE_THETA = {"sliding": 1e4, "full": 1e6}
# Full-attention layers rotate a quarter of the head; the other angles are zero.
ROPE_FRACTION = {"sliding": 1.0, "full": 0.25}
HEAD_DIM = {"sliding": 256, "full": 512}


@dataclass(frozen=True, slots=True)
class Variant:
    """One model size. `kv_heads` is (sliding, full); zero means the model has none of it."""

    name: str
    hidden: int
    layers: int
    q_heads: int
    kv_heads: tuple[int, int]
    shared_kv_projection: bool  # K == V on full-attention layers
    per_layer_width: int
    kv_shared_layers: int
    experts: int = 0
    top_k: int = 0

    def heads(self, layer: str) -> tuple[int, int, int]:
        """(query heads, KV heads, head_dim) of a "sliding" or "full" layer."""
        return self.q_heads, self.kv_heads[layer == "full"], HEAD_DIM[layer]

    @property
    def moe(self) -> bool:
        return self.experts > 0


VARIANTS = (
    Variant("E2B", 1536, 35, 8, (1, 1), False, 256, 20),
    Variant("E4B", 2560, 42, 8, (2, 2), False, 256, 18),
    Variant("12B", 3840, 48, 16, (8, 1), True, 0, 0),
    Variant("26B-A4B", 2816, 30, 16, (8, 2), True, 0, 0, experts=128, top_k=8),
    Variant("31B", 5376, 60, 32, (16, 4), True, 0, 0),
)
WIDTHS = tuple(sorted({v.hidden for v in VARIANTS}))
