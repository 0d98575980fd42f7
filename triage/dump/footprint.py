"""Which page-table columns a trtllm-gen launch reads, and what a bad id in one does.

The kernel is closed, so there is not one answer but three nested ones per row:

    must    the pages that hold a key some query of the row can see
    likely  the left edge rounded down to a KV tile of 128 tokens, up to the last page
    may     the left edge rounded down to 256, and on to the end of the last 256-token tile

A bad id in *must* is definite, one only in *likely* or *may* is possible, one
outside *may* is not the cause.

The page goes into a TMA coordinate, and the descriptor's page extent is twice
the pages of the cache whenever K and V start at different addresses. So the
effect of an id depends on its band, N being the pages of the cache:

    0 .. N-1      inside (right or wrong, the kernel cannot tell)
    N .. 2N-1     outside the tensor, inside the descriptor: an MMU fault, or another tensor's bytes
    2N and more   outside the descriptor: zeros and no fault
    negative      a negative coordinate: zeros and no fault

With K and V at one address the extent is N and no id can fault. That trtllm-gen
builds such a descriptor is read from FlashInfer's host code; that its loads then
behave so is measured (`triage.replay.tma_band`, on an H200). The sets are of trtllm-gen
alone and still a deduction: what FA2, FA3 and XQA read was probed and differs
(`triage probe`, `triage.replay.flashinfer_kernels`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

LIKELY_TILE_TOKENS = 128
MAY_TILE_TOKENS = 256

SETS = ("must", "likely", "may")
BANDS = ("fault", "zeros", "negative")
BAND_EFFECTS = {
    "fault": "leaves the tensor: illegal memory access, or another tensor's bytes",
    "zeros": "beyond the descriptor: read as zeros, no fault",
    "negative": "negative coordinate: read as zeros, no fault",
}


class Columns(NamedTuple):
    """Half-open column ranges of the three sets, one entry per row; not clipped to the width."""

    must_low: np.ndarray
    likely_low: np.ndarray
    may_low: np.ndarray
    high: np.ndarray  # must and likely end here
    may_high: np.ndarray


@dataclass(frozen=True, slots=True)
class Offender:
    """One entry that is read and lies outside the cache."""

    row: int
    column: int
    value: int
    set: str
    band: str


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a launch reads. Every bad entry is counted once, in the innermost set it is in.

    `read` counts the entries of each set, those of the sets inside it included.
    `past_width` counts must-entries beyond the table's width: the kernel reads
    the next row's ids there, and past the allocation in the last row.
    """

    num_pages: int
    extent: int
    rows: int
    read: dict[str, int]
    bad: dict[str, dict[str, int]]  # set -> band -> entries
    rows_affected: int
    offenders: tuple[Offender, ...]
    past_width: int
    past_width_rows: tuple[int, ...]

    def count(self, *, within: str = "may", band: str | None = None) -> int:
        """Bad entries in set `within` (inner sets included), of one band or of all."""
        sets = SETS[: SETS.index(within) + 1]
        bands = BANDS if band is None else (band,)
        return sum(self.bad[name][each] for name in sets for each in bands)

    @property
    def clean(self) -> bool:
        return self.count() == 0 and self.past_width == 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "num_pages": self.num_pages,
            "extent": self.extent,
            "rows": self.rows,
            "read": dict(self.read),
            "bad": {name: dict(bands) for name, bands in self.bad.items()},
            "rows_affected": self.rows_affected,
            "past_width": self.past_width,
            "past_width_rows": list(self.past_width_rows),
            "offenders": [
                {
                    "row": offender.row,
                    "column": offender.column,
                    "value": offender.value,
                    "set": offender.set,
                    "band": offender.band,
                }
                for offender in self.offenders
            ],
        }


def columns_read(
    cache_seqlens: np.ndarray, q_lens: np.ndarray | int, *, page_size: int, window_left: int
) -> Columns:
    """The columns of each row that a launch reads.

    Args:
        cache_seqlens: `(rows,)` tokens, the queries of this launch included. A
            row of no tokens reads nothing.
        q_lens: query tokens of each row.
        window_left: keys visible besides a query's own, -1 for all of them.
    """
    lengths = np.maximum(cache_seqlens.astype(np.int64), 0)
    oldest = np.zeros_like(lengths)
    if window_left >= 0:
        oldest = np.maximum(lengths - q_lens - window_left, 0)
    high = -(-lengths // page_size)
    may_high = -(-lengths // MAY_TILE_TOKENS) * MAY_TILE_TOKENS
    return Columns(
        must_low=oldest // page_size,
        likely_low=oldest // LIKELY_TILE_TOKENS * LIKELY_TILE_TOKENS // page_size,
        may_low=oldest // MAY_TILE_TOKENS * MAY_TILE_TOKENS // page_size,
        high=high,
        may_high=-(-may_high // page_size),
    )


def band_of(values: np.ndarray, extent: int) -> np.ndarray:
    """Index into BANDS for each id that is known to lie outside the pool's pages."""
    bands = np.where(values >= extent, BANDS.index("zeros"), BANDS.index("fault"))
    return np.where(values < 0, BANDS.index("negative"), bands)
