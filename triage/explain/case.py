"""The numbers that rules look at, worked out once per dump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from triage.dump.expected_ids import (
    UNKNOWN,
    PageIds,
    expected_of,
    page_ids,
    reads_target_swa,
    real_rows,
    visible,
)
from triage.dump.sections import Backend, Dump, Launch, Pools, Tables
from triage.dump.table_form import misread
from triage.explain.cause import Citation

MATCH_SHARE = 0.95  # of the entries that decide; the rest may be rewritten between build and dump

_ABSENT = {"None", "False", ""}


class Match(NamedTuple):
    """How far the table agrees with a hypothesis, over the entries that decide.

    An entry decides if the hypothesis and the right id differ there.
    """

    agreeing: int
    telling: int

    @property
    def holds(self) -> bool:
        return self.telling > 0 and self.agreeing >= MATCH_SHARE * self.telling


@dataclass(frozen=True, slots=True)
class LaunchCase:
    """A launch, its table as passed, and what I2 says about it.

    `seen` marks the entries some query of a real row can see, `expected` is
    the table I2 demands with UNKNOWN where the dump cannot tell, None if it
    cannot tell at all. All are `(rows, width)`.
    """

    dump: Dump
    launch: Launch
    tables: Tables
    table: np.ndarray
    seen: np.ndarray
    ids: PageIds | None
    expected: np.ndarray | None

    @classmethod
    def of(cls, dump: Dump) -> LaunchCase | None:
        if dump.launch is None or dump.tables is None:
            return None
        table = dump.tables.page_table.padded(dtype=np.int64)
        ids = page_ids(dump)
        return cls(
            dump=dump,
            launch=dump.launch,
            tables=dump.tables,
            table=table,
            seen=visible(dump, table.shape[1]),
            ids=ids,
            expected=expected_of(dump, ids),
        )

    @property
    def backend(self) -> Backend | None:
        return self.dump.backend

    @property
    def pools(self) -> Pools | None:
        return self.dump.pools

    @property
    def reads_swa(self) -> bool:
        return reads_target_swa(self.dump)

    @property
    def misread(self) -> str:
        """Why the kernel reads something else than this table; empty if it does not."""
        return misread(self.launch.tensors.get("block_tables"))

    @property
    def rows(self) -> int:
        return real_rows(self.dump)

    def outside(self) -> np.ndarray:
        """Mask of the visible entries that are no page of the cache."""
        return self.seen & ((self.table < 0) | (self.table >= self.launch.num_pages))

    def wrong(self) -> np.ndarray:
        """Mask of the visible entries that are not the ones I2 demands."""
        if self.expected is None:
            return np.zeros_like(self.seen)
        return self.seen & (self.expected != UNKNOWN) & (self.table != self.expected)

    def match(self, hypothesis: np.ndarray, *, against: np.ndarray | None = None) -> Match:
        """Agreement of the visible table with `hypothesis` where it differs from the right id."""
        right = self.expected if against is None else against
        known = self.seen & (hypothesis != UNKNOWN)
        telling = known if right is None else known & (right != UNKNOWN) & (hypothesis != right)
        return Match(int((telling & (self.table == hypothesis)).sum()), int(telling.sum()))

    def name_of(self, row: int) -> str:
        """ "row 3", with its request where its id is recorded."""
        held, ids = self.tables.req_pool_indices, self.tables.request_ids
        if held is None or not ids or not ids[row]:
            return f"row {row}"
        return f"row {row} (request {int(held[row])}, id {ids[row]})"

    def cite(self, mask: np.ndarray) -> tuple[Citation, ...]:
        """The first entry of each row in `mask`."""
        rows = np.flatnonzero(mask.any(axis=1))
        found = []
        for row in rows.tolist():
            column = int(np.argmax(mask[row]))
            right = None if self.expected is None else int(self.expected[row, column])
            value = int(self.table[row, column])
            found.append(Citation(row, column, value, None if right == UNKNOWN else right))
        return tuple(found)

    def swa_state_absent(self) -> bool | None:
        """Does the backend believe that there is no SWA pool? None: the dump contradicts itself."""
        if self.backend is not None and self.backend.swa_state:
            absent = {value in _ABSENT for value in self.backend.swa_state.values()}
            return absent.pop() if len(absent) == 1 else None
        if self.pools is not None and self.pools.table_space:
            return self.reads_swa and "swa" not in self.pools.table_space
        return None

    def observed(self) -> tuple[str, ...]:
        """What is wrong with the table, in plain sentences; empty if nothing is."""
        sentences = []
        if self.misread:
            sentences.append(f"the kernel does not read the table that was passed: {self.misread}")
        outside, wrong = int(self.outside().sum()), int(self.wrong().sum())
        total = int(self.seen.sum())
        if outside:
            sentences.append(
                f"{outside} of {total} visible entries are outside [0, {self.launch.num_pages})"
            )
        if wrong:
            sentences.append(f"{wrong} of {total} visible entries are not the right page")
        dummy = int((self.seen & (self.table == 0)).sum())
        if dummy:
            sentences.append(f"{dummy} of {total} visible entries are the dummy page 0")
        return tuple(sentences)
