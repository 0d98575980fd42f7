"""Whose hand was on the pages of a wrong entry, as far as the dump says."""

from __future__ import annotations

from typing import Any

from triage.dump.sections import Dump
from triage.evidence import PageHistory

MAX_PAGES, MAX_EVENTS, MAX_FRAMES = 64, 8, 6


def hands(dump: Dump) -> list[dict[str, Any]]:
    """The histories of the pages that the fault names, newest event first; [] if not recorded."""
    return [
        {
            "pool": each.pool,
            "page": each.page,
            "name": each.name,
            "events": [
                {"sentence": event.sentence(), "frames": list(event.frames[:MAX_FRAMES])}
                for event in each.events[:MAX_EVENTS]
            ],
        }
        for each in dump.fault.pages[:MAX_PAGES]
    ]


def hand_on(dump: Dump, value: int, expected: int | None) -> str:
    """The newest event of the page that an entry names and of the one it should; "" if unknown."""
    return "; ".join(
        f"{each.name} {each.events[0].sentence()}"
        for each in _of_entry(dump, value, expected)
        if each.events
    )


def _of_entry(dump: Dump, value: int, expected: int | None) -> list[PageHistory]:
    """An id may be of either pool: which one is meant is what is wrong with it."""
    read = "" if dump.pools is None else dump.pools.read
    named = [each for each in dump.fault.pages if each.page == value]
    return named + [
        each
        for each in dump.fault.pages
        if each.page == expected and each not in named and read in ("", each.pool)
    ]
