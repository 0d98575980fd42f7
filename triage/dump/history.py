"""What a dump's history says: the launches in order, and since when ids were wrong.

The ring's entries are plain maps out of a file, so nothing about them is taken for
granted: what is missing or of another type reads as not known. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triage.dump.sections import Dump

CRASH, SNAP = "crash", "snap"
"""Kinds of dump that are the ring alone: what took the server down, what was asked for."""


@dataclass(frozen=True, slots=True)
class LaunchSummary:
    """One recorded launch. `fresh` counts the entries that were wrong for the first time."""

    sequence: int
    check: int | None
    step: int | None
    space: str
    layer_id: int | None
    role: str
    forward_mode: str
    graph: int
    rows: int
    longest: int
    fresh: int
    stale: str
    reads: str
    torn: bool
    lost: str

    @property
    def name(self) -> str:
        """What to call it: the checker's launch number where there is one."""
        launch = (
            f"recorded launch {self.sequence}" if self.check is None else f"launch {self.check}"
        )
        return launch if self.step is None else f"{launch} (step {self.step})"


def first_offence(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The oldest entry at which the device checker had seen more offenders than before it.

    None if no entry has one, or the ring had no checker. An offence older than the
    ring shows at its oldest entry: then `sequence` is not 0.
    """
    before = 0
    for entry in entries:
        seen = entry.get("offenders")
        if not isinstance(seen, int):
            continue
        if seen > before:
            return entry
        before = seen
    return None


def launch_summaries(history: Sequence[dict[str, Any]]) -> tuple[LaunchSummary, ...]:
    """The launches of a `history` section, oldest first.

    Other entries are passed over: older versions of this tool kept kv_canary's lines there.
    """
    found, before = [], 0
    for entry in history:
        if "source" in entry:
            continue
        seen = _number(entry, "offenders")
        found.append(_summary(entry, 0 if seen is None else max(seen - before, 0)))
        before = before if seen is None else seen
    return tuple(found)


def since(dump: Dump) -> str:
    """Since when ids were wrong and where the ring ends, in one sentence; empty without a ring."""
    history = dump.history
    launches = launch_summaries(history)
    if not launches:
        return ""
    last = launches[-1]
    if all(_number(entry, "offenders") is None for entry in history):
        return f"{len(launches)} launches are recorded, unchecked, to {last.name}"
    first = next((moment for moment in launches if moment.fresh), None)
    if first is None:
        return f"no id was wrong in the {len(launches)} launches to the end, {last.name}"
    older = " or earlier" if first is launches[0] and first.sequence else ""
    faulted = next((each for each in launches if each.sequence == faulted_sequence(dump)), None)
    if faulted is not None and first is not faulted:
        before = _before(first, faulted, launches)
        return f"ids were wrong since {first.name}{older}{before} {faulted.name}"
    if faulted is not None:
        return f"ids were wrong at {first.name}{older}, the launch that is shown"
    if first is last:
        return f"ids were wrong at {first.name}{older}, the last one recorded"
    end = "the fault came after" if dump.fault.facts.get("kind") == CRASH else "the ring ends at"
    return f"ids were wrong since {first.name}{older}, {end} {last.name}"


def _before(first: LaunchSummary, faulted: LaunchSummary, launches: Sequence[LaunchSummary]) -> str:
    last = faulted.step
    if last is None:  # a step that did not end has no number yet
        ended = [each.step for each in launches if each.step is not None]
        last = max(ended) + 1 if ended else None
    if first.step is None or last is None or last < first.step:
        return ", before the fault at"
    steps = last - first.step
    return f", {steps} step{'s' if steps != 1 else ''} before the fault at"


def faulted_sequence(dump: Dump) -> int | None:
    """The sequence of the launch that the writer took for the one that faulted."""
    faulted = dump.fault.facts.get("faulted")
    return _number(faulted, "sequence") if isinstance(faulted, dict) else None


def faulting(history: Sequence[dict[str, Any]]) -> tuple[dict[str, Any] | None, str]:
    """The recorded launch that a crash is most likely of, and why; None where no table is kept.

    A CUDA error is heard of late, so the host may have recorded launches after the one that
    faulted: of the last two steps, the newest that names pages outside its pool, else the
    newest of all. Needs nothing but the entries.
    """
    kept = [entry for entry in history if isinstance(entry.get("table_values"), np.ndarray)]
    if not kept:
        return None, ""
    newest = _number(kept[-1], "step")
    for entry in reversed(kept):
        step = _number(entry, "step")
        if newest is not None and step is not None and step < newest - 1:
            break
        pages, values = _number(entry, "num_pages"), entry["table_values"]
        if pages is not None and values.size and bool(((values < 0) | (values >= pages)).any()):
            return entry, "it is the newest whose table names pages outside its pool"
    return kept[-1], "it is the newest that is recorded"


def stale_state(history: Sequence[dict[str, Any]]) -> tuple[LaunchSummary, str] | None:
    """The first launch with a wrong id whose backend's SWA state was stale, and why it was."""
    return next(
        (
            (moment, moment.stale)
            for moment in launch_summaries(history)
            if moment.fresh and moment.stale
        ),
        None,
    )


def _summary(entry: dict[str, Any], fresh: int) -> LaunchSummary:
    lengths = entry.get("cache_seqlens")
    known = isinstance(lengths, np.ndarray) and lengths.size and lengths.dtype.kind in "iu"
    return LaunchSummary(
        sequence=_number(entry, "sequence") or 0,
        check=_number(entry, "checker_launch"),
        step=_number(entry, "step"),
        space=_text(entry, "space"),
        layer_id=_number(entry, "layer_id"),
        role=_text(entry, "role"),
        forward_mode=_text(entry, "forward_mode"),
        graph=_number(entry, "graph") or 0,
        rows=_number(entry, "rows") or 0,
        longest=int(lengths.max()) if known else 0,  # type: ignore[union-attr]
        fresh=fresh,
        stale=_text(entry, "stale"),
        reads=_text(entry, "reads"),
        torn=entry.get("torn") is True,
        lost=_text(entry, "lost"),
    )


def _number(entry: dict[str, Any], name: str) -> int | None:
    value = entry.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""
