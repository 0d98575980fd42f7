"""The emulator as a replay kernel: does the recorded launch read what it must not?

Two questions, both answered without KV values: do the ids stay inside the
cache (addresses), and are they the ids that I2 demands (identity)? A recorded
fault recurs if the question it belongs to is answered with no.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from triage.dump.expected_ids import (
    UNKNOWN,
    expected_ids,
    query_lens,
    reads_target_swa,
    real_rows,
    visible,
)
from triage.dump.footprint import BAND_EFFECTS, BANDS, SETS, Footprint
from triage.dump.sections import Dump
from triage.dump.table_form import table_as_read
from triage.invariants.catalogue import SHOWN_BY_ADDRESSES
from triage.replay import placement
from triage.replay.emulator import emulate
from triage.replay.fixes import apply_fix, redirected_share
from triage.replay.verdict import (
    Basis,
    Outcome,
    Verdict,
    outcome_of,
    records_fault,
)

KERNEL = "emulator"


def footprint_of(dump: Dump) -> Footprint:
    """The addresses that the recorded launch dereferences."""
    assert dump.launch is not None and dump.tables is not None
    launch = dump.launch
    return emulate(
        table_as_read(dump).ids,
        dump.tables.cache_seqlens,
        page_size=launch.page_size,
        window_left=launch.window_left,
        num_pages=launch.num_pages,
        q_lens=query_lens(dump),
        separate_kv=launch.separate_kv,
    )


def deduce(dump: Dump, fix: str = "") -> Verdict:
    """The emulator's verdict on `dump`, with `fix` applied to it where one is named."""
    fault_expected = records_fault(dump) and not fix
    recorded = dump
    if fix:
        dump = apply_fix(fix, dump)
    if dump.launch is None or dump.tables is None:
        return Verdict(
            KERNEL,
            Outcome.CANNOT_RUN,
            Basis.DEDUCED,
            ("the dump holds no launch with its tables",),
            fault_expected,
            fix,
        )
    footprint = footprint_of(dump)
    figures: dict[str, Any] = {"footprint": footprint.as_dict()}
    identity = _identity(dump)
    reasons = [*identity["reasons"], *_address_reasons(footprint)]
    place = placement.sentence(dump, footprint)
    if place:
        reasons.append(place)
    reasons.sort(key=lambda reason: reason.startswith("possible"))
    note = table_as_read(dump).note
    if note:
        reasons.append(note)
    if dump.tables.source:
        reasons.append(f"the tables are those of {dump.tables.source}")
    possible = footprint.count() > 0 and fault_expected
    definite = footprint.count(within="must") + footprint.past_width + identity["dummy"] > 0
    found = {"address": definite, "identity": identity["wrong"] > 0}
    if possible and not any(found.values()):
        found["address"] = dump.fault.invariant in SHOWN_BY_ADDRESSES
    if not any(found.values()):
        reasons.insert(0, _all_clear(footprint, identity["known"]))
    elif not definite:
        reasons.insert(0, "no visible entry leaves the cache")
    if fix:
        changed, seen = redirected_share(recorded, dump)
        figures["redirected"] = {"entries": changed, "visible": seen}
        reasons.append(f"{fix} changes {changed} of {seen} visible entries")
    figures["identity"] = {key: identity[key] for key in ("known", "wrong", "dummy")}
    outcome = outcome_of(dump, **found)
    return Verdict(KERNEL, outcome, Basis.DEDUCED, tuple(reasons), fault_expected, fix, figures)


def _all_clear(footprint: Footprint, identities_known: int) -> str:
    inside = f"all {footprint.read['must']} visible entries lie inside the cache"
    if identities_known:
        return f"{inside} and are the pages that I2 demands"
    return f"{inside}; whether they are the right pages the dump cannot tell"


def _address_reasons(footprint: Footprint) -> list[str]:
    reasons = []
    for name in SETS:
        for band in BANDS:
            count = footprint.bad[name][band]
            if not count:
                continue
            grade = "definite" if name == "must" else f"possible, only in the {name} set"
            first = next(
                (each for each in footprint.offenders if (each.set, each.band) == (name, band)),
                None,
            )
            where = (
                ""
                if first is None
                else f"; first block_tables[{first.row}, {first.column}] = {first.value}"
            )
            reasons.append(
                f"{grade}: {count} of {footprint.read[name]} entries read are "
                f"{_range_text(band, footprint)}: {BAND_EFFECTS[band]}{where}"
            )
    if footprint.past_width:
        rows = ", ".join(map(str, footprint.past_width_rows[:4]))
        reasons.append(
            f"definite: {footprint.past_width} entries lie beyond the table's width "
            f"(rows {rows}): the next row's ids, or past the allocation"
        )
    return reasons


def _range_text(band: str, footprint: Footprint) -> str:
    pages, extent = footprint.num_pages, footprint.extent
    return {
        "fault": f"in [{pages}, {extent})",
        "zeros": f">= {extent}",
        "negative": "negative",
    }[band]


def _identity(dump: Dump) -> dict[str, Any]:
    """Visible entries that are not the ones I2 demands, and those on the dummy page."""
    read = table_as_read(dump)
    mask = visible(dump, read.ids.shape[1])
    if read.known is not None:
        mask &= read.known
    dummy = mask & (read.ids == 0)
    reasons = []
    if dummy.any():
        row, column = np.argwhere(dummy)[0]
        reasons.append(
            f"{int(dummy.sum())} visible entries are 0, the dummy page "
            f"(first block_tables[{row}, {column}]): padding bytes are read as keys"
        )
    expected = expected_ids(dump)
    if expected is None:
        return {"known": 0, "wrong": 0, "dummy": int(dummy.sum()), "reasons": reasons}
    width = min(expected.shape[1], mask.shape[1])
    known = mask[:, :width] & (expected[:, :width] != UNKNOWN)
    wrong = known & (read.ids[:, :width] != expected[:, :width])
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        space = "SWA" if reads_target_swa(dump) else "full-pool"
        rows = int(wrong.any(axis=1).sum())
        recorded = "" if known.sum() == mask.sum() else " whose right page is recorded"
        reasons.append(
            f"{int(wrong.sum())} of {int(known.sum())} visible entries{recorded} in {rows} of "
            f"{real_rows(dump)} rows are not the {space} page of their token; first "
            f"block_tables[{row}, {column}] = {read.ids[row, column]}, "
            f"expected {expected[row, column]}"
        )
    return {
        "known": int(known.sum()),
        "wrong": int(wrong.sum()),
        "dummy": int(dummy.sum()),
        "reasons": reasons,
    }
