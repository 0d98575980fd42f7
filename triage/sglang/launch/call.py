"""One attention call over a page table, FlashInfer's or FlashAttention's, under one set of names.

The two functions name the same things differently and their lists grow with
every release, so everything is taken by name and what is missing gets
FlashInfer's default. Nothing here reads a device value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from triage.dump.flashinfer_api import CONTEXT, DECODE, FLASH_ATTENTION

_POSITIONAL = {
    DECODE: ("query", "kv_cache", "workspace_buffer", "block_tables", "seq_lens", "max_seq_len"),
    CONTEXT: (
        "query",
        "kv_cache",
        "workspace_buffer",
        "block_tables",
        "seq_lens",
        "max_q_len",
        "max_kv_len",
        "bmm1_scale",
        "bmm2_scale",
        "batch_size",
        "cum_seq_lens_q",
        "cum_seq_lens_kv",
    ),
}
"""Leading positional names, the same in FlashInfer 0.6.11 to 0.7.2; SGLang uses keywords."""


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """The arguments as passed. Shapes are FlashInfer's: query `(tokens, heads, head_dim)`,
    K and V `(pages, kv_heads, page_size, head_dim)` for HND, block_tables `(rows, width)`.
    """

    api: str
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, api: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> AttentionCall:
        if not args:
            return cls(api, kwargs)
        return cls(api, {**dict(zip(_POSITIONAL[api], args, strict=False)), **kwargs})

    @property
    def query(self) -> Tensor:
        return self.arguments["query"]

    @property
    def block_tables(self) -> Tensor:
        return self.arguments["block_tables"]

    @property
    def cache_seqlens(self) -> Tensor:
        return self.arguments["seq_lens"]

    @property
    def kv(self) -> tuple[Tensor, Tensor]:
        """K and V. A single tensor holds both on its second dimension, or one for both (MLA)."""
        cache = self.arguments["kv_cache"]
        if isinstance(cache, (tuple, list)):
            return cache[0], cache[1]
        if cache.shape[1] == 2:
            return cache[:, 0], cache[:, 1]
        return cache, cache

    @property
    def layout(self) -> str:
        return str(self.arguments.get("kv_layout") or "HND")

    @property
    def any_stride(self) -> bool:
        """Is the kernel told the table's row stride, rather than that it is the width?"""
        return self.api == FLASH_ATTENTION

    @property
    def rows_are_requests(self) -> bool:
        """May row r be compared with the batch's request r? Not where the caller says no."""
        return bool(self.arguments.get("rows_are_requests", True))

    @property
    def num_pages(self) -> int:
        return int(self.kv[0].shape[0])

    @property
    def page_size(self) -> int:
        return int(self.kv[0].shape[2 if self.layout == "HND" else 1])

    @property
    def num_kv_heads(self) -> int:
        return int(self.kv[0].shape[1 if self.layout == "HND" else 2])

    @property
    def window_left(self) -> int:
        return int(self.arguments.get("window_left", -1))

    @property
    def max_seq_len(self) -> int:
        return int(self.arguments["max_seq_len" if self.api == DECODE else "max_kv_len"])

    @property
    def cum_seq_lens_q(self) -> Tensor | None:
        return self.arguments.get("cum_seq_lens_q")

    @property
    def q_len_per_req(self) -> int:
        """Query tokens of every row, 0 where they are ragged and `cum_seq_lens_q` has them."""
        if self.api == CONTEXT or self.cum_seq_lens_q is not None:
            return 0
        return int(self.arguments.get("q_len_per_req") or 1)
