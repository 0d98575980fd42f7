"""One compiled kernel per dtype and width, whatever the strides and addresses of a call.

Triton compiles a variant of its own for pointers and strides divisible by 16, with wider
loads and another layout of the row over threads. Sums are then taken in another order and
the last bit of a row depends on where it lies. So a launcher hands over only tensors that
are specialised alike; others are copied first. Every stride in the Gemma-4 models is a
multiple of 256, so there a copy never happens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage_kernels.core.dependent import mark_copied

_BYTES, _ELEMENTS = 16, 16


def is_aligned(tensor: Tensor) -> bool:
    """Whether rows [M, N] (or a vector) start on 16 bytes.

    Where N is a multiple of 16 the row stride is one too; elsewhere rows are packed.
    """
    if tensor.data_ptr() % _BYTES:
        return False
    if tensor.dim() < 2:
        return True
    width = tensor.shape[1]
    return tensor.stride(0) == width if width % _ELEMENTS else tensor.stride(0) % _ELEMENTS == 0


def aligned(tensor: Tensor) -> Tensor:
    """`tensor` itself where `is_aligned`, else a packed copy: one launch more, the same bits."""
    if is_aligned(tensor):
        return tensor
    return mark_copied(tensor.clone(memory_format=torch.contiguous_format))


def written_back(work: Tensor, tensor: Tensor) -> Tensor:
    """`tensor`, holding what was written to `work = aligned(tensor)`."""
    if work is not tensor:
        tensor.copy_(work)
    return tensor
