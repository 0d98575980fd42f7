"""I6 over calls that are told late and together: does each page go out and come back in turn?

The failure: a page is freed while it is free. The rule: of one page the calls that hand it
out and the calls that free it alternate, beginning with the opposite of what the ledger has.
All calls of a batch are looked at in one pass; only where it finds a contradiction are they
told to the ledger one by one, which names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from triage.evidence import Evidence
from triage.invariants.ledger import FREE, HELD, PageLedger

FREED, HANDED_OUT, LISTED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Move:
    """One call: the pages it freed or handed out, or for LISTED all that are free now."""

    kind: int
    where: str
    pages: np.ndarray


def judge(ledger: PageLedger, moves: Sequence[Move]) -> tuple[Evidence, ...]:
    """Bring `moves`, in order, into the ledger; what contradicts it.

    Time: one sort of the pages that moved; of a LISTED, the pages of the pool.
    """
    found: tuple[Evidence, ...] = ()
    start = 0
    for stop, move in enumerate(moves):
        if move.kind == LISTED:
            found += _together(ledger, moves[start:stop])
            ledger.restore(move.pages, where=move.where)
            start = stop + 1
    return found + _together(ledger, moves[start:])


def _together(ledger: PageLedger, moves: Sequence[Move]) -> tuple[Evidence, ...]:
    if not moves:
        return ()
    sizes = [len(move.pages) for move in moves]
    pages = np.concatenate([move.pages for move in moves])
    if not len(pages):
        return ()
    if pages.min() < 1 or pages.max() >= ledger.num_pages:
        return _one_by_one(ledger, moves)
    kinds = np.repeat([move.kind for move in moves], sizes)
    order = np.argsort(pages, kind="stable")
    page, kind = pages[order], kinds[order]
    again = page[1:] == page[:-1]
    first = np.concatenate(([True], ~again))
    if (again & (kind[1:] == kind[:-1])).any() or (ledger.state[page[first]] == kind[first]).any():
        return _one_by_one(ledger, moves)
    ledger.moved(pages, kinds, sizes, [(_KINDS[move.kind], move.where) for move in moves])
    return ()


_KINDS = {FREED: "free", HANDED_OUT: "alloc"}
assert (FREE, HELD) == (FREED, HANDED_OUT), "a page is as the last call left it"


def _one_by_one(ledger: PageLedger, moves: Sequence[Move]) -> tuple[Evidence, ...]:
    found: tuple[Evidence, ...] = ()
    for move in moves:
        tell = ledger.free if move.kind == FREED else ledger.alloc
        once, times = np.unique(move.pages, return_counts=True)
        found += tell(once * ledger.page_size, where=move.where)
        if (times > 1).any():
            found += tell(once[times > 1] * ledger.page_size, where=move.where)
    return found
