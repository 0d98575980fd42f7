"""Is the current stream being captured into a CUDA graph?

The one predicate that every trap asks; a test that has no GPU replaces it here.
"""

from __future__ import annotations

import functools

import torch


def capturing() -> bool:
    """Host work only, about 100 ns."""
    return _has_cuda() and torch.cuda.is_current_stream_capturing()


@functools.cache
def _has_cuda() -> bool:
    return torch.cuda.is_available()
