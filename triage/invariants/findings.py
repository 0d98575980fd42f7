"""What a check returns: counts that cost one host read, offenders only on demand.

A check leaves its masks on the device. `Findings.read()` brings over one small
int64 tensor; only if that shows a violation are rows, columns and values
fetched, which may synchronise as often as it likes: the step is lost anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from triage.evidence import Violation
from triage.invariants.found import Found

KEPT = 64
"""Offenders of one finding that an error and its dump hold."""

Bound = int | Tensor
"""A bound that holds for every entry, or one per entry, broadcastable to the mask."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The entries of one tensor that break one invariant.

    mask: `(rows,)` or `(rows, columns)`, bool, or integer whose non-zero entries
        offend. A `(rows,)` mask reports column 0.
    value: what was seen, same shape.
    low, high: the half-open range of legal values.
    expected: the one right value where `known`, same shape; None if no entry has one.
    known: where `expected` holds; None means everywhere.
    in_window: whether a query of the launch can see the entry, same shape.
    request: `(rows,)`, `req_pool_indices` of the row.
    kind: what these entries are, as a value.
    first_column: `(rows,)`, what column 0 of the mask is called; 0 where it is not given.
    """

    invariant: str
    tensor: str
    mask: Tensor
    value: Tensor
    low: Bound
    high: Bound
    expected: Tensor | None = None
    known: Tensor | None = None
    in_window: Tensor | None = None
    request: Tensor | None = None
    kind: Found | Literal[""] = ""
    first_column: Tensor | None = None

    def first(self, limit: int) -> tuple[Violation, ...]:
        """The first `limit` offenders in row-major order. Synchronises."""
        spots = self.mask.nonzero()[:limit].tolist()
        return tuple(self._violation(tuple(spot)) for spot in spots)

    def _violation(self, spot: tuple[int, ...]) -> Violation:
        def at(bound: Bound) -> int:
            if isinstance(bound, int):
                return bound
            return int(bound.expand(self.mask.shape)[spot])

        known = self.expected is not None and (self.known is None or bool(self.known[spot]))
        return Violation(
            invariant=self.invariant,
            tensor=self.tensor,
            row=spot[0],
            column=self._column(spot),
            value=int(self.value[spot]),
            low=at(self.low),
            high=at(self.high),
            expected=int(self.expected[spot]) if self.expected is not None and known else None,
            req_pool_index=None if self.request is None else int(self.request[spot[0]]),
            in_window=None if self.in_window is None else bool(self.in_window[spot]),
            kind=str(self.kind),
        )

    def _column(self, spot: tuple[int, ...]) -> int:
        if len(spot) < 2:
            return 0
        return spot[1] + (0 if self.first_column is None else int(self.first_column[spot[0]]))


class Findings:
    """The result of one check, still on the device.

    summary: `(faults + 1,)`, int64: offenders per fault, then the rows that hold
        at least one. Nothing here has synchronised yet.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        self.summary = _summary(self.faults)
        self._read: tuple[int, ...] | None = None

    def _numbers(self) -> tuple[int, ...]:
        if self._read is None:
            self._read = tuple(self.summary.tolist())
        return self._read

    def read(self) -> dict[str, int]:
        """Offenders per invariant, every checked one named. The one host read; cached."""
        counts: dict[str, int] = {}
        for fault, number in zip(self.faults, self._numbers(), strict=False):
            counts[fault.invariant] = counts.get(fault.invariant, 0) + number
        return counts

    @property
    def total(self) -> int:
        """All offenders. Reads like `read()`."""
        return sum(self._numbers()[:-1])

    @property
    def rows_affected(self) -> int:
        """Rows with at least one offender. Reads like `read()`."""
        return self._numbers()[-1]

    def violations(self, limit: int = KEPT) -> tuple[Violation, ...]:
        """Up to `limit` offenders, each fault getting an equal share, in order of fault.

        Synchronises once per fault and value; call it only after `read()` showed one.
        """
        firing = [f for f, n in zip(self.faults, self._numbers(), strict=False) if n > 0]
        found: list[Violation] = []
        for position, fault in enumerate(firing):
            share = -(-(limit - len(found)) // (len(firing) - position))
            found.extend(fault.first(share))
        return tuple(found[:limit])


def _summary(faults: tuple[Fault, ...]) -> Tensor:
    if not faults:
        return torch.zeros(1, dtype=torch.int64)
    counts = [fault.mask.count_nonzero() for fault in faults]
    if len(faults) == 1 and faults[0].mask.dim() == 1:
        return torch.stack([*counts, *counts])
    rows = faults[0].mask.new_zeros(max(fault.mask.shape[0] for fault in faults))
    for fault in faults:
        hit = fault.mask.any(dim=1) if fault.mask.dim() > 1 else fault.mask
        rows[: len(hit)] |= hit
    return torch.stack([*counts, rows.sum()])


def read_together(findings: Sequence[Findings]) -> None:
    """Bring the summaries of several checks over in one host read instead of one each."""
    unread = [found for found in findings if found._read is None]
    if not unread:
        return
    numbers = torch.cat([found.summary for found in unread]).tolist()
    start = 0
    for found in unread:
        stop = start + len(found.summary)
        found._read = tuple(numbers[start:stop])
        start = stop
