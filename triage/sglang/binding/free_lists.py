"""Where SGLang's allocators of one pool keep the pages that nobody has."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def lists_of(sub: Any) -> list[Tensor]:
    """Everything that an allocator of one pool calls free, staged pages included.

    Empty before its `clear`. On the pool's device, as SGLang has them: nothing is read.
    """
    parts = [getattr(sub, name, None) for name in ("free_pages", "release_pages")]
    parts += getattr(sub, "staged_pages", None) or []
    return [part for part in parts if part is not None]
