"""What one dump holds, section by section; `triage/dump/file.py` writes and reads it.

Arrays are numpy. A table is kept as far as any known kernel may read it, row
by row (`Ragged`); what was not kept stays a fact (`TensorFacts`) and is never
filled with invented values.

Units: a *slot* is a token index in a pool, a *page* is slot // page_size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from triage.evidence import Evidence, TensorFacts

KERNEL_TILE_TOKENS = 256
"""Largest KV tile of the trtllm-gen, XQA and Triton kernels: a row is stored to the end of it."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of different lengths in one flat array: row i is `values[offsets[i]:offsets[i+1]]`."""

    values: np.ndarray
    offsets: np.ndarray  # (rows + 1,), int64, offsets[0] == 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int) -> np.ndarray:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @classmethod
    def of(cls, table: np.ndarray, lengths: np.ndarray) -> Ragged:
        """Keep the first `lengths[i]` columns of row i of the 2-D `table`."""
        lengths = np.asarray(lengths, dtype=np.int64)
        keep = np.arange(table.shape[1])[None, :] < lengths[:, None]
        offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, table.shape[1]))])
        return cls(np.ascontiguousarray(table[keep]), offsets.astype(np.int64))

    def padded(
        self, fill: int = 0, *, width: int | None = None, dtype: type | None = None
    ) -> np.ndarray:
        """The rows as one `(rows, width)` array, `fill` where a row ends.

        Args:
            width: of the result, the longest row's where it is not given; more is cut.
            dtype: of the result, else that of the values.
        """
        lengths = np.diff(self.offsets)
        wide = int(lengths.max(initial=0)) if width is None else width
        table = np.full((len(self), wide), fill, dtype=dtype or self.values.dtype)
        kept = np.minimum(lengths, wide)
        for row, (start, count) in enumerate(zip(self.offsets, kept, strict=False)):
            table[row, :count] = self.values[start : start + count]
        return table


@dataclass(frozen=True, slots=True)
class Launch:
    """One FlashInfer call as SGLang made it.

    `arguments` has every scalar argument by its FlashInfer name (a tensor
    scale is recorded under `tensors`), `tensors` the facts of every tensor
    argument, `window_left` is -1 for no window, `q_len_per_req` is 1 for plain
    decode and 0 where queries are ragged (`cum_seq_lens_q` has them then).
    """

    api: str  # "trtllm_batch_decode_with_kv_cache" or "trtllm_batch_context_with_kv_cache"
    launch_id: int
    layer_id: int | None
    page_size: int
    num_q_heads: int
    num_kv_heads: int
    head_dim: int
    num_pages: int  # extent of the K cache that was passed, in pages (dummy page included)
    window_left: int
    max_seq_len: int
    q_len_per_req: int
    kv_layout: str
    separate_kv: bool  # K and V start at different addresses
    arguments: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, TensorFacts] = field(default_factory=dict)
    cum_seq_lens_q: np.ndarray | None = None
    cum_seq_lens_kv: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Tables:
    """The index tensors of the launch, and where their ids should have come from.

    page_table: row i holds columns [0, min(width, end of the last 256-token tile)).
    cache_seqlens: (rows,) tokens, the query tokens of this launch included.
    req_pool_indices: (rows,), None where the hook could not see them.
    req_to_token: row i holds `req_to_token[req, p * page_size]` for the same p; full-pool slots.
    req_to_token_exceptions: (n, 3) of (row, position, slot) wherever, inside the
        row's length, slot != page start + position % page_size.
    mapping: (n, 2) of (full slot, SWA slot), sorted, for every page start above.
    mapping_exceptions: (n, 2) of the same wherever a live full slot's SWA slot
        is not its page start's plus the offset. None for both: no mapping existed.
    expected: what I2 demands of `page_table`, in page ids, -1 where that is not known; for
        a dump that holds no `req_to_token`.
    stored_from: (rows,), the first column of each row that was stored; 0 stands before it.
    request_ids: (rows,), SGLang's id of each row's request as it may be told
        (`triage/dump/request_ids.py`), "" for padding and where it is not known; empty where
        none is.
    source: what the tables were taken from, and so what they lack; empty for the launch.
    """

    page_table: Ragged
    cache_seqlens: np.ndarray
    req_pool_indices: np.ndarray | None = None
    req_to_token: Ragged | None = None
    req_to_token_exceptions: np.ndarray | None = None
    mapping: np.ndarray | None = None
    mapping_exceptions: np.ndarray | None = None
    expected: Ragged | None = None
    stored_from: np.ndarray | None = None
    source: str = ""
    request_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """One KV pool (or sub-pool). `object_id` is `id()` in the faulting process."""

    name: str  # "full" or "swa", with "draft " before it for a draft's own
    kind: str  # class name
    size: int  # slots, without the dummy page
    page_size: int
    num_pages: int  # pages a kernel may address, dummy page included
    layers: tuple[int, ...] = ()
    available: int | None = None  # free slots, as the allocator counts
    object_id: int = 0
    extents: tuple[tuple[int, int], ...] = ()  # (address, bytes) of K and V of the layer read


@dataclass(frozen=True, slots=True)
class Pools:
    """All pools known, and which of them the launch read.

    `read` names the pool whose buffer was passed, `table_space` the pool whose
    ids the backend believes the table holds; they differ in the stale-state defect.
    """

    pools: tuple[Pool, ...]
    read: str
    table_space: str = ""
    segments: tuple[tuple[int, int], ...] = ()  # CUDA allocator segments (address, bytes)

    def by_name(self, name: str) -> Pool | None:
        return next((pool for pool in self.pools if pool.name == name), None)


@dataclass(frozen=True, slots=True)
class Backend:
    """The attention backend at the launch.

    `swa_state` holds the SWA attributes as text ("None", "SWAKVPool@7f..", "True"),
    `pool_class` and `init_pool_class` the KV pool read now and the one at construction.
    """

    role: str  # "target" or "draft"
    forward_mode: str
    in_graph: bool
    batch_size: int
    padded_batch_size: int
    speculative_step: int | None = None
    swa_state: dict[str, str] = field(default_factory=dict)
    pool_class: str = ""
    init_pool_class: str = ""


@dataclass(frozen=True, slots=True)
class Dump:
    """One recorded fault. Sections a reader does not know are kept in `extra`, undecoded."""

    fault: Evidence
    launch: Launch | None = None
    tables: Tables | None = None
    pools: Pools | None = None
    backend: Backend | None = None
    history: tuple[dict[str, Any], ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    kv: dict[str, np.ndarray] | None = None
    extra: dict[str, bytes] = field(default_factory=dict)
    format_version: int = 1
