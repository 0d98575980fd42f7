"""The CPU stand-in for a trtllm-gen launch: addresses only, exact as far as they are known.

`emulate` looks at the ids a launch would dereference and says what each bad
one would do. It computes no attention and needs numpy alone; the lab calls it
in place of the kernel on every launch, so a clean table costs one comparison
per entry of the columns that any row reads.
"""

from __future__ import annotations

import numpy as np

from triage.dump.footprint import BANDS, SETS, Columns, Footprint, Offender, band_of, columns_read

BLOCK_ENTRIES = 1 << 20  # the block's mask and its bad entries' coordinates stay below 32 MB
MAX_OFFENDERS = 8  # of each set and band


def emulate(
    page_table: np.ndarray,
    cache_seqlens: np.ndarray,
    *,
    page_size: int,
    window_left: int,
    num_pages: int,
    q_lens: np.ndarray | int,
    separate_kv: bool = True,
    max_offenders: int = MAX_OFFENDERS,
) -> Footprint:
    """The footprint of one launch.

    Args:
        page_table: `(rows, width)` signed integers as the kernel reads them.
        cache_seqlens, q_lens, window_left: see `columns_read`.
        num_pages: pages of the K cache that is passed, the dummy page included.
        separate_kv: K and V start at different addresses (SGLang's do).
    """
    rows, width = page_table.shape
    columns = columns_read(cache_seqlens, q_lens, page_size=page_size, window_left=window_left)
    clipped = Columns(*(np.minimum(edge, width) for edge in columns))
    extent = 2 * num_pages if separate_kv else num_pages
    tally = _Tally(clipped, extent, max_offenders)
    low, high = int(clipped.may_low.min(initial=width)), int(clipped.may_high.max(initial=0))
    if high > low:
        itemsize = page_table.dtype.itemsize
        unsigned = page_table[:, low:high].view(f"u{itemsize}")  # a negative id is a huge one
        bound = min(num_pages, 1 << (8 * itemsize - 1))
        step = max(BLOCK_ENTRIES // (high - low), 1)
        for first in range(0, rows, step):
            bad = unsigned[first : first + step] >= bound
            if bad.any():
                tally.add(page_table, bad, first, low)
    missing = columns.high - np.maximum(clipped.high, columns.must_low)
    short_rows = np.flatnonzero(missing > 0)
    return Footprint(
        num_pages=num_pages,
        extent=extent,
        rows=rows,
        read={
            "must": int((clipped.high - clipped.must_low).sum()),
            "likely": int((clipped.high - clipped.likely_low).sum()),
            "may": int((clipped.may_high - clipped.may_low).sum()),
        },
        bad=tally.bad(),
        rows_affected=len(tally.rows),
        offenders=tally.offenders(),
        past_width=int(missing[short_rows].sum()),
        past_width_rows=tuple(short_rows[:MAX_OFFENDERS].tolist()),
    )


class _Tally:
    """Counts of bad entries by set and band, and the first of each set."""

    def __init__(self, columns: Columns, extent: int, max_offenders: int) -> None:
        self.columns = columns
        self.extent = extent
        self.max_offenders = max_offenders
        self.counts = np.zeros((len(SETS), len(BANDS)), dtype=np.int64)
        self.rows: set[int] = set()
        self.first: dict[tuple[int, int], list[Offender]] = {
            (inner, band): [] for inner in range(len(SETS)) for band in range(len(BANDS))
        }

    def add(self, page_table: np.ndarray, bad: np.ndarray, first_row: int, low: int) -> None:
        """Classify the bad entries of one block that begins at (`first_row`, `low`)."""
        row, column = np.nonzero(bad)
        row, column = row + first_row, column + low
        edges = self.columns
        read = (column >= edges.may_low[row]) & (column < edges.may_high[row])
        row, column = row[read], column[read]
        if not len(row):
            return
        in_likely = (column >= edges.likely_low[row]) & (column < edges.high[row])
        in_must = in_likely & (column >= edges.must_low[row])
        inner = np.where(in_must, 0, np.where(in_likely, 1, 2))
        values = page_table[row, column]
        bands = band_of(values, self.extent)
        tally = np.bincount(inner * len(BANDS) + bands, minlength=self.counts.size)
        self.counts += tally.reshape(self.counts.shape)
        self.rows.update(np.unique(row).tolist())
        for (index, band), found in self.first.items():
            if len(found) == self.max_offenders:
                continue
            these = np.flatnonzero((inner == index) & (bands == band))
            found += [
                Offender(int(row[at]), int(column[at]), int(values[at]), SETS[index], BANDS[band])
                for at in these[: self.max_offenders - len(found)]
            ]

    def bad(self) -> dict[str, dict[str, int]]:
        return {
            name: dict(zip(BANDS, self.counts[index].tolist(), strict=True))
            for index, name in enumerate(SETS)
        }

    def offenders(self) -> tuple[Offender, ...]:
        """The first of each set and band, those of the innermost set before the others."""
        return tuple(each for found in self.first.values() for each in found)
