"""I24: what goes between the device and the host: which slots, whole pages, held by whom.

The failure: HiCache copies pages of a host pool that belong to nobody or to another node by
now, or gives host slots back while a copy still reads them, or twice; what comes back to the
device later is another prompt's. The rule: a list names slots of its pool, each once, in whole
pages; the host slots of a transfer are handed out; no slot is freed before the transfers that use
it are through; and a slot is let go once, by its holder, whether it is freed at once or queued.

Host integers only: a host pool's slots are tensors on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from triage.evidence import Evidence, Violation
from triage.invariants.found import Found

_NO_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class InFlight:
    """A transfer that was started: its host slots, which way, and whether it is through."""

    slots: np.ndarray
    way: str  # "read" from the host, or "written"
    done: Callable[[], bool]


def check_destinations(pages: np.ndarray, where: str) -> Evidence | None:
    """The pages that a transfer to another server writes: each once, but for page 0."""
    negative = pages[pages < 0]
    if len(negative):
        text = f"a transfer writes page {negative[0]}, which no pool has"
        return _of_list(Found.TRANSFER_OUTSIDE_POOL, text, "dst_indices", negative, 0, None, where)
    page, times = np.unique(pages[pages > 0], return_counts=True)
    if (times > 1).any():
        twice = page[times > 1]
        text = f"a transfer writes page {twice[0]} twice"
        return _of_list(Found.TRANSFER_REPEATED, text, "dst_indices", twice, 0, None, where)
    return None


def check_row_sent(row: int, tokens: int, *, ended: bool) -> Evidence | None:
    """I24: a row whose first `tokens` tokens were handed to a sender is released behind its end.

    Host integers; legal under capture.
    """
    if ended:
        return None
    return Evidence(
        "I24",
        f"request {row} gives its row and pages back while {tokens} tokens of it are being sent",
        "ReqToTokenPool.free",
        total=tokens,
        facts={"request": row, "tokens handed to the sender": tokens},
        kind=Found.FREED_WHILE_SENT,
    )


def check_backup(copied: np.ndarray, stored: list[np.ndarray], where: str) -> Evidence | None:
    """Of the host slots of one copy that is acknowledged, storage gets all or none.

    Args:
        copied: host slots that the copy wrote. stored: those of each list that went to storage
            when it was acknowledged, for this copy and others.
    """
    everything = np.concatenate(stored) if stored else copied[:0]
    missing = copied[~np.isin(copied, everything)]
    if not len(missing) or len(missing) == len(copied):
        return None
    text = (
        f"{len(copied)} host slots were copied for a node, and the backup to storage has "
        f"{len(copied) - len(missing)} of them: host slot {missing[0]} is not stored"
    )
    return _of_list(Found.BACKUP_INCOMPLETE, text, "host_indices", missing, 0, None, where)


class HostPages:
    """The slots of one host pool: who is handed out, what a transfer uses.

    Args:
        slots: of the pool; slot 0 is one like the others. page_size: slots of a page.
    """

    def __init__(self, name: str, slots: int, page_size: int) -> None:
        self.name = name
        self.page_size = page_size
        self.held = np.zeros(slots, dtype=bool)
        self.queued = np.zeros(slots, dtype=bool)  # to be freed: their holder has let go
        self.in_flight: list[InFlight] = []

    def handed_out(self, slots: np.ndarray) -> None:
        legal = self._legal(slots)
        self.held[legal] = True
        self.queued[legal] = False

    def let_go(self, slots: np.ndarray, where: str) -> Evidence | None:
        """Slots are put onto a queue of those to be freed: by the one that holds them, once."""
        legal = self._legal(slots)
        again, nobodys = legal[self.queued[legal]], legal[~self.held[legal]]
        self.queued[legal] = True
        if len(again):
            text = f"host slot {again[0]} is released a second time before it is freed"
        elif len(nobodys):
            text = f"host slot {nobodys[0]} is released, and nobody holds it"
        else:
            return None
        wrong = again if len(again) else nobodys
        text += f"; {len(wrong)} slots"
        return self._evidence(Found.HOST_RELEASED_TWICE, text, wrong, where)

    def freed(self, slots: np.ndarray, where: str) -> Evidence | None:
        """Slots go back. What uses them still, if anything does; else those nobody held."""
        legal = self._legal(slots)
        nobodys = legal[~self.held[legal]]
        self.held[legal] = self.queued[legal] = False
        self.in_flight = [each for each in self.in_flight if not each.done()]
        for each in self.in_flight:
            used = np.intersect1d(slots, each.slots)
            if len(used):
                text = (
                    f"host slot {used[0]} is freed while a transfer still has it {each.way}; "
                    f"{len(used)} slots"
                )
                return self._evidence(Found.FREED_IN_TRANSFER, text, used, where)
        if len(nobodys):
            text = f"host slot {nobodys[0]} is freed, and nobody holds it; {len(nobodys)} slots"
            return self._evidence(Found.HOST_RELEASED_TWICE, text, nobodys, where)
        return None

    def started(self, slots: np.ndarray, way: str, done: Callable[[], bool]) -> None:
        """A transfer was queued that reads or writes these slots."""
        self.in_flight = [each for each in self.in_flight if not each.done()]
        self.in_flight.append(InFlight(slots, way, done))

    def check(self, slots: np.ndarray, where: str) -> Evidence | None:
        """The list of a transfer that is about to be queued; the first thing that is wrong."""
        outside = slots[(slots < 0) | (slots >= len(self.held))]
        if len(outside):
            text = f"host slot {outside[0]} is outside [0, {len(self.held)})"
            return self._evidence(Found.TRANSFER_OUTSIDE_POOL, text, outside, where)
        page = self.page_size
        if len(slots) % page:
            text = f"{len(slots)} host slots are no whole pages of {page}"
            return self._evidence(Found.TRANSFER_TORN_PAGE, text, slots[-1:], where)
        pages = slots.reshape(-1, page)
        torn = (pages != pages[:, :1] + np.arange(page)).any(axis=1) | (pages[:, 0] % page != 0)
        if torn.any():
            text = f"host slots from {pages[torn][0, 0]} on are not one page"
            return self._evidence(Found.TRANSFER_TORN_PAGE, text, pages[torn][0], where)
        starts, times = np.unique(pages[:, 0], return_counts=True)
        if (times > 1).any():
            twice = starts[times > 1]
            text = f"host page {twice[0] // page} is named twice"
            return self._evidence(Found.TRANSFER_REPEATED, text, twice, where)
        stray = slots[~self.held[slots]]
        if len(stray):
            text = f"host slot {stray[0]} is held by nobody; {len(stray)} slots"
            return self._evidence(Found.TRANSFER_NOT_HELD, text, stray, where)
        return None

    def _legal(self, slots: np.ndarray) -> np.ndarray:
        return slots[(slots >= 0) & (slots < len(self.held))]

    def _evidence(self, kind: Found, text: str, slots: np.ndarray, where: str) -> Evidence:
        return _of_list(
            kind, text, "host_indices", slots, 0, len(self.held), where, f"host {self.name}"
        )


def _of_list(
    kind: Found,
    text: str,
    tensor: str,
    ids: np.ndarray,
    low: int,
    high: int | None,
    where: str,
    pool: str = "",
) -> Evidence:
    violations = tuple(
        Violation(
            "I24",
            tensor,
            row=at,
            column=0,
            value=int(each),
            low=low,
            high=_NO_LIMIT if high is None else high,
            kind=kind,
        )
        for at, each in enumerate(ids[:8])
    )
    return Evidence(
        "I24",
        text,
        where,
        pool=pool,
        total=len(ids),
        rows_affected=len(ids),
        violations=violations,
        kind=kind,
    )
