"""Values for a cache and queries that the dump does not hold.

A value depends on (pool, slot, head, element) alone, so the same page gives the
same bytes in every row, run and process, and two pages differ: enough to tell
whether a launch read the right pages, not what the model would have said.
Output that rests on these is labelled as synthesised.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

CODES = 4096

Element = str  # a type name of `triage.dump.dtypes`

_TORCH_TYPES = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
}


class SynthesisedCache:
    """A paged K and V cache of any size that is computed where it is read.

    Each (slot, head) has the sum of two of `CODES` random vectors, chosen by a
    hash: sixteen million different ones at the price of two gathers.
    """

    def __init__(
        self, pool: str, *, page_size: int, num_kv_heads: int, head_dim: int, dtype: Element
    ) -> None:
        self.page_size = page_size
        self.num_kv_heads = num_kv_heads
        self.dtype = torch_dtype(dtype)
        generator = torch.Generator().manual_seed(zlib.crc32(pool.encode()))
        self.codes = torch.randn(4, CODES, head_dim, generator=generator) / 2**0.5

    def __call__(self, pages: Tensor) -> tuple[Tensor, Tensor]:
        """K and V of `(rows, columns)` pages, see `triage.replay.attention.KVReader`."""
        offset = torch.arange(self.page_size)
        head = torch.arange(self.num_kv_heads)
        slot = pages[:, :, None, None] * self.page_size + offset
        key = slot * self.num_kv_heads + head[:, None]
        first, second = _hash(key, 0x9E3779B9), _hash(key, 0x85EBCA6B)
        return self._values(0, first, second), self._values(2, first, second)

    def _values(self, which: int, first: Tensor, second: Tensor) -> Tensor:
        values = self.codes[which][first] + self.codes[which + 1][second]
        return values.to(self.dtype).float()


def synthesised_query(rows: int, num_q_heads: int, head_dim: int, dtype: Element) -> Tensor:
    """`(rows, Hq, D)` queries, the same in every run."""
    generator = torch.Generator().manual_seed(0x51)
    values = torch.randn(rows, num_q_heads, head_dim, generator=generator)
    return values.to(torch_dtype(dtype)).float()


def synthesised_sinks(num_q_heads: int) -> Tensor:
    generator = torch.Generator().manual_seed(0x52)
    return torch.randn(num_q_heads, generator=generator)


def torch_dtype(name: Element) -> torch.dtype:
    """bfloat16 for a type that torch's CPU build cannot hold as values."""
    return _TORCH_TYPES.get(name.removeprefix("torch."), torch.bfloat16)


def _hash(key: Tensor, salt: int) -> Tensor:
    """An index into CODES; multiply and shift, int64 arithmetic wraps on every device."""
    mixed = (key + salt) * 0x2545F4914F6CDD1D
    mixed = mixed ^ (mixed >> 29)
    mixed = mixed * 0x369DEA0F31A53F85
    return (mixed >> 40) & (CODES - 1)
