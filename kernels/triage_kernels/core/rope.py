"""Cosine and sine tables of Gemma-4's rotary embedding.

Sliding layers rotate the whole head. Full layers use the "proportional" form: a
quarter of the angles, with exponents over the whole head_dim; the others are zero.
Pairs are (i, i + head_dim / 2) in both, so a zero angle leaves a pair where it is and
the table is as wide as the head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage_kernels.core.models import HEAD_DIM, ROPE_FRACTION, ROPE_THETA


def rotary_angles(layer: str) -> int:
    """Angles that are not zero: 128 of 128 on sliding layers, 64 of 256 on full ones."""
    return int(ROPE_FRACTION[layer] * HEAD_DIM[layer] // 2)


def cos_sin_cache(layer: str, positions: int) -> Tensor:
    """[positions, head_dim] fp32: cosines, then sines, of a "sliding" or "full" layer."""
    d, angles = HEAD_DIM[layer], rotary_angles(layer)
    inverse = torch.zeros(d // 2)
    exponents = torch.arange(0, 2 * angles, 2, dtype=torch.float32) / d
    inverse[:angles] = 1.0 / (ROPE_THETA[layer] ** exponents)
    angle = torch.arange(positions, dtype=torch.float32)[:, None] * inverse
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + D/2) of the last dimension, in the dtype of `x`."""
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)
