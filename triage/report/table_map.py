"""Every entry of a launch's page table and what it is: for page, picture and terminal.

`block_tables` is the field's name of that table (FlashInfer's argument); it stands so in
all output. What the dump does not hold is a state of its own and never taken for right.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from triage.dump.expected_ids import UNKNOWN, launch_columns
from triage.dump.footprint import BAND_EFFECTS, BANDS, band_of
from triage.explain.case import LaunchCase

TABLE = "block_tables"


class State(NamedTuple):
    """What an entry may be. `mark` is its character in a terminal and on a large cell."""

    key: str
    short: str
    label: str
    mark: str
    bad: bool = False


_OUT = "outside the tensor: "
STATES = (
    State("absent", "not stored", "not stored, or past the end of its row", " "),
    State(
        "unseen", "outside the window", "outside the window: no query of this launch sees it", "."
    ),
    State("padding", "padding", "row of CUDA-graph padding: its output is thrown away", ","),
    State(
        "tile",
        "outside, unseen",
        "outside the cache, where no query sees it but a tile of the kernel may reach; columns "
        "past a row's end are never written, so this is usual",
        "?",
    ),
    State("right", "right page", "the right page", "#"),
    State("unjudged", "not judged", "inside the cache; which page is right is not recorded", "+"),
    State("dummy", "dummy page 0", "the dummy page 0, read as if it held keys", "0", True),
    State("stale", "stale page", "stale: a page that no row of this launch has now", "s", True),
    State("foreign", "another's page", "the page of another request or position", "x", True),
    State("space", "wrong id space", "wrong id space: the page's id in the other pool", "~", True),
    State("negative", "outside: negative", _OUT + BAND_EFFECTS["negative"], "-", True),
    State("zeros", "outside: zeros", _OUT + BAND_EFFECTS["zeros"], "z", True),
    State("fault", "outside: fault", _OUT + BAND_EFFECTS["fault"].partition(": ")[2], "!", True),
)
"""The least telling first: where several share one pixel the last of them is shown."""

CODE = {state.key: code for code, state in enumerate(STATES)}
BAD = np.array([state.bad for state in STATES])


@dataclass(frozen=True, slots=True)
class TableMap:
    """The live columns of a table: those that a query of some row sees, and their tiles.

    states, ids, expected: `(rows, columns)`; `states` are indices into STATES, `expected` is
    UNKNOWN where nobody knows. Column j here is column `first_column + j` of the table.
    """

    case: LaunchCase
    first_column: int
    states: np.ndarray
    ids: np.ndarray
    expected: np.ndarray

    @classmethod
    def of(cls, case: LaunchCase) -> TableMap:
        rows, width = case.table.shape
        edges = launch_columns(case.dump)
        real = np.arange(rows) < case.rows
        live = real if real.any() else np.ones(rows, dtype=bool)
        low = int(edges.may_low[live].min(initial=width))
        high = int(np.minimum(edges.may_high[live], width).max(initial=0))
        low = min(max(low, 0), max(high, 0))
        expected = case.expected
        if expected is None:
            expected = np.full(case.table.shape, UNKNOWN, dtype=np.int64)
        part = slice(low, high)
        states = _states(case, expected, edges.may_low, edges.may_high)
        return cls(case, low, states[:, part], case.table[:, part], expected[:, part])

    @property
    def bad(self) -> np.ndarray:
        mask: np.ndarray = BAD[self.states]
        return mask

    def counts(self) -> dict[str, int]:
        """Entries of each state, by its key."""
        found = np.bincount(self.states.ravel(), minlength=len(STATES)).tolist()
        return {state.key: count for state, count in zip(STATES, found, strict=True)}

    def worst(self, limit: int, first: Collection[tuple[int, int]] = ()) -> list[dict[str, Any]]:
        """The first bad entries: those of `first` (row and column of the table), then those
        that leave the tensor, then by row and column."""
        row, column = np.nonzero(self.bad)
        later = np.ones(len(row), dtype=bool)
        for at_row, at_column in first:
            later[(row == at_row) & (column + self.first_column == at_column)] = False
        severity = -self.states[row, column].astype(np.int64)
        order = np.lexsort((column, row, severity, later))[:limit]
        return [self.entry(int(row[at]), int(column[at])) for at in order]

    def entry(self, row: int, column: int) -> dict[str, Any]:
        """All that is known of one entry; `column` counts from `first_column`."""
        case, value = self.case, int(self.ids[row, column])
        right = int(self.expected[row, column])
        state = STATES[self.states[row, column]]
        page_size = case.launch.page_size
        requests = case.tables.req_pool_indices
        return {
            "row": row,
            "column": column + self.first_column,
            "value": value,
            "slots": [value * page_size, (value + 1) * page_size] if value >= 0 else None,
            "state": state.key,
            "says": state.label,
            "expected": None if right == UNKNOWN else right,
            "low": 1,
            "high": case.launch.num_pages,
            "request": None if requests is None else int(requests[row]),
            "request_id": case.tables.request_ids[row] if case.tables.request_ids else "",
            "owner": self.owner(value),
        }

    def owner(self, page: int) -> str:
        """Whose page it is in the pool that the launch reads; empty where no row here has it."""
        row, column = np.nonzero((self.expected == page) & (self.expected > 0))
        if not len(row):
            return ""
        requests = self.case.tables.req_pool_indices
        request = "" if requests is None else f" (request {int(requests[row[0]])})"
        more = f", and {len(row) - 1} more" if len(row) > 1 else ""
        return f"row {row[0]}{request}, column {column[0] + self.first_column}{more}"


def _states(
    case: LaunchCase, expected: np.ndarray, may_low: np.ndarray, may_high: np.ndarray
) -> np.ndarray:
    table, pages = case.table, case.launch.num_pages
    column = np.arange(table.shape[1])
    lengths = np.diff(case.tables.page_table.offsets)
    stored = column < lengths[:, None]
    if case.tables.stored_from is not None:
        stored &= column >= case.tables.stored_from[:, None]
    seen, outside = case.seen & stored, (table < 0) | (table >= pages)
    known = expected != UNKNOWN
    wrong = seen & ~outside & known & (table != expected)
    other = _other_space(case)
    has = np.isin(table, expected[known & (expected > 0)])
    states = np.full(table.shape, CODE["unseen"], dtype=np.uint8)
    states[case.rows :] = CODE["padding"]
    states[seen & ~outside] = CODE["unjudged"]
    states[seen & known & (table == expected)] = CODE["right"]
    states[wrong] = CODE["stale"]
    states[wrong & has] = CODE["foreign"]
    if other is not None:
        states[wrong & (table == other)] = CODE["space"]
    states[seen & (table == 0)] = CODE["dummy"]
    in_tile = stored & ~seen & (column >= may_low[:, None]) & (column < may_high[:, None])
    in_tile[case.rows :] = False
    states[in_tile & outside] = CODE["tile"]
    bands = band_of(table, 2 * pages if case.launch.separate_kv else pages)
    for index, band in enumerate(BANDS):
        states[seen & outside & (bands == index)] = CODE[band]
    states[~stored] = CODE["absent"]
    return states


def _other_space(case: LaunchCase) -> np.ndarray | None:
    """The ids that the same tokens have in the pool which the launch does not read."""
    if case.ids is None:
        return None
    other = case.ids.full if case.reads_swa else case.ids.swa
    return None if other is None else np.where(other > 0, other, UNKNOWN)
