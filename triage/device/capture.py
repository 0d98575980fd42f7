"""Is the current stream being captured into a CUDA graph?

The one predicate that every trap asks; a test that has no GPU replaces it here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

_ask: Callable[[], bool] | None = None


def capturing() -> bool:
    """Host work only, about 100 ns: it is asked at every layer."""
    global _ask
    if _ask is None:
        _ask = torch.cuda.is_current_stream_capturing if torch.cuda.is_available() else _never
    return _ask()


_never = bool
"""`bool()` is False, and runs no frame."""
