"""What a kernel of the lab read, row by row: the oracle of the dumps of slots and tables."""

from __future__ import annotations

import itertools
from typing import Any

import torch


def as_read(read: Any) -> list[list[int]]:
    """Of a `SlotRead` its slots, of a `PageTableRead` its live pages."""
    if hasattr(read, "kv_indptr"):
        offsets, slots = read.kv_indptr.tolist(), read.kv_indices.tolist()
        return [slots[low:high] for low, high in itertools.pairwise(offsets)]
    page = read.k_buffer.shape[1]
    pages = (read.cache_seqlens.to(torch.int64) + page - 1) // page
    return [row[:live] for row, live in zip(read.page_table.tolist(), pages.tolist(), strict=True)]
