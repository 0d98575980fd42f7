"""What the lab's stand-ins for attention kernels were passed, as they were passed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class SlotRead:
    """What a kernel of Triton or fa2 was passed.

    window: which of the two streams it is. with_queries: does it hold the tokens of this
    forward too, as fa2's does?
    """

    k_buffer: Tensor
    kv_indptr: Tensor
    kv_indices: Tensor
    window: bool
    with_queries: bool = False


@dataclass(frozen=True, slots=True)
class PageTableRead:
    """What FA3 was passed: a table of page ids. `window_left` is negative without a window."""

    k_buffer: Tensor
    page_table: Tensor
    cache_seqlens: Tensor
    cu_seqlens_q: Tensor
    window_left: int


Sink = Callable[[SlotRead | PageTableRead], None]
