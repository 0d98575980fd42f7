"""What a report page holds, as plain data: for `triage report`'s page, its picture and its JSON.

Nothing is worked out twice: causes are `triage.explain`'s, what a fix does is
`triage.replay`'s, an entry of the table is judged by `triage.report.table_map`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

import triage
from triage.dump.expected_ids import UNKNOWN
from triage.dump.history import faulted_sequence, launch_summaries, since
from triage.dump.sections import Dump
from triage.explain import Explanation
from triage.explain.case import LaunchCase
from triage.explain.together import Report
from triage.invariants import catalogue
from triage.report.hands import hand_on, hands
from triage.report.map_encoding import encoded
from triage.report.next_steps import commands, fixes
from triage.report.table_map import CODE, TABLE, TableMap

NOT_RECORDED = "not recorded"
SHOWN_DUMPS = 8
SHOWN_ENTRIES = 12
SHOWN_READINGS = 40
SHOWN_LAUNCHES = 600  # of the histories of all dumps
MAP_BYTES = 1_400_000  # of base64 for all maps of a page, which is to stay below 2 MB
_BINS = 160


def contents(report: Report) -> dict[str, Any]:
    """All that the page of `report` says."""
    first = next((each for each in report.ranks if not each.collateral), None)
    explained = dict(report.explanations)
    dumps = [(each.path, each.dump) for each in report.inputs if each.dump is not None]
    shown = dumps[:SHOWN_DUMPS]
    launches = sum(dump.launch is not None and dump.tables is not None for _, dump in shown)
    budget, kept = MAP_BYTES // max(launches, 1), SHOWN_LAUNCHES // max(len(shown), 1)
    return {
        "version": triage.__version__,
        "title": title(report),
        "lead": lead(report),
        "status": report.status,
        "inputs": [
            {"path": each.path, "recognised": each.recognised, "problem": each.problem}
            for each in report.inputs
        ],
        "first_rank": "" if first is None else first.rank,
        "readings": [
            {
                "headline": reading.headline,
                "where": f"{seen.source}:{seen.line}" if seen.source else f"line {seen.line}",
                "rank": seen.rank,
                "count": seen.count,
                "says": list(reading.says),
            }
            for seen, reading in zip(report.observations, report.readings, strict=True)
        ][:SHOWN_READINGS],
        "readings_total": len(report.observations),
        "dumps": [of_dump(path, dump, explained[path], budget, kept) for path, dump in shown],
        "dumps_total": len(dumps),
        "notes": list(report.notes),
        "missing": list(report.missing),
        "next": list(report.next),
    }


def title(report: Report) -> str:
    """The cause in a few words; what is wrong where none is named."""
    named = [cause for _, each in report.explanations for cause in each.named]
    if named:
        return " or ".join(dict.fromkeys(cause.name for cause in named))
    if report.status == "clean":
        return "nothing wrong: every visible entry is inside the cache and, where known, right"
    return "cause unknown"


def lead(report: Report) -> str:
    """The first sentence below the title: how sure it is, and of what fault."""
    sure = {c.confidence.name.lower() for _, each in report.explanations for c in each.named}
    words = [f"{' and '.join(sorted(sure))} confidence"] if sure else []
    dumps = [each.dump for each in report.inputs if each.dump is not None]
    if dumps:
        words.append(f"{headline(dumps[0])}; {place(dumps[0])}".rstrip("; "))
    elif report.readings:
        words.append(report.readings[0].headline)
    return "; ".join(words)


def of_dump(
    path: str, dump: Dump, explanation: Explanation, budget: int, launches: int
) -> dict[str, Any]:
    """One dump of the page. budget: bytes of its map; launches: how many of its history."""
    case = LaunchCase.of(dump)
    table = None if case is None else TableMap.of(case)
    return {
        "path": path,
        "headline": headline(dump),
        "place": place(dump),
        "explanation": explanation.as_dict(),
        "entries": faulting(dump, table, SHOWN_ENTRIES),
        "hands": hands(dump),
        "found": dict(dump.fault.facts),
        "map": None if table is None else encoded(table, budget),
        "ids": None if table is None else page_id_histogram(table),
        "pools": _pools(dump, table),
        "timeline": _timeline(dump, launches),
        "launch": _launch(dump),
        "fixes": fixes(dump),
        "next": commands(path, dump, explanation),
        "tables_from": "" if dump.tables is None else dump.tables.source,
        "provenance": dump.provenance,
    }


def headline(dump: Dump) -> str:
    """What the recorded fault means, its invariant's number once, behind it."""
    fault = dump.fault
    if not fault.invariant:
        kind = fault.facts.get("kind")
        return f"{kind}: {fault.summary}" if kind else fault.summary or "a snapshot: no fault"
    row = catalogue.find(fault.invariant)
    return fault.invariant if row is None else f"{row.sentence} ({row.name})"


def place(dump: Dump) -> str:
    """Where it was seen: call, mode, layer, pool, and how many entries."""
    fault = dump.fault
    parts = [fault.where, fault.forward_mode]
    if fault.layer_id is not None:
        parts.append(f"layer {fault.layer_id}")
    if fault.pool:
        parts.append(f"{fault.pool} pool")
    if fault.total:
        parts.append(f"{_many(fault.total, 'entry', 'entries')} in ")
        parts[-1] += _many(fault.rows_affected, "row", "rows")
    return ", ".join(part for part in parts if part)


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def faulting(dump: Dump, table: TableMap | None, limit: int) -> list[dict[str, Any]]:
    """The entries that are wrong: of the launch's table, else what the trap named.

    hand: who put the value there, empty where the dump does not say.
    """
    named = {(v.row, v.column): v for v in dump.fault.violations if v.tensor == TABLE}
    found = [] if table is None else table.worst(limit, first=named)
    for entry in found:
        violation = named.get((entry["row"], entry["column"]))
        if violation is not None:
            entry.update(low=violation.low, high=violation.high)
        entry.update(tensor=TABLE, hand=hand_on(dump, entry["value"], entry["expected"]))
    others = [v for v in dump.fault.violations if v.tensor != TABLE or not found]
    for each in others[: limit - len(found)]:
        found.append(
            {
                "tensor": each.tensor,
                "row": each.row,
                "column": each.column,
                "value": each.value,
                "slots": None,
                "state": "",
                "says": each.kind,
                "expected": each.expected,
                "low": each.low,
                "high": each.high,
                "request": each.req_pool_index,
                "request_id": each.request_id,
                "owner": "",
                "hand": hand_on(dump, each.value, each.expected),
            }
        )
    return found


def page_id_histogram(table: TableMap) -> dict[str, Any]:
    """Where on the axis of page ids the visible entries lie, right ones and bad ones apart."""
    pages = table.case.launch.num_pages
    seen, fine = table.bad, table.states == CODE["right"]
    inside = table.ids[seen | fine]
    top = max(int(inside.max(initial=0)) + 1, int(pages), 1)
    top += max(top // 50, 1)
    edges = np.linspace(0, top, _BINS + 1)
    owed = table.expected[(seen | fine) & (table.expected != UNKNOWN)]
    return {
        "top": top,
        "num_pages": pages,
        "extent": 2 * pages if table.case.launch.separate_kv else pages,
        "bad": np.histogram(table.ids[seen], edges)[0].tolist(),
        "right": np.histogram(owed, edges)[0].tolist(),
        "negative": int((table.ids[seen] < 0).sum()),
    }


# -- pools, timeline, launch ----------------------------------------------------------------------


def _pools(dump: Dump, table: TableMap | None) -> dict[str, Any] | None:
    if dump.pools is None:
        return None
    named = owed = None
    if table is not None:
        live = table.bad | np.isin(table.states, [CODE["right"], CODE["unjudged"]])
        ids = table.ids[live]
        named = _different(ids[(ids > 0) & (ids < table.case.launch.num_pages)])
        known = table.expected[live & (table.expected > 0)]
        owed = _different(known) if known.size else None
    return {
        "read": dump.pools.read,
        "table_space": dump.pools.table_space,
        "pools": [
            {
                "name": pool.name,
                "kind": pool.kind,
                "slots": pool.size,
                "page_size": pool.page_size,
                "pages": max(pool.num_pages - 1, 0),
                "free_pages": None if pool.available is None else pool.available // pool.page_size,
                "named": named if pool.name == dump.pools.read else None,
                "owed": owed if pool.name == dump.pools.read else None,
            }
            for pool in dump.pools.pools
        ],
    }


def _different(ids: np.ndarray) -> int:
    """How many different ones; numpy's own unique is thirty times slower on half a million."""
    return int((np.diff(np.sort(ids)) != 0).sum()) + bool(ids.size)


def _timeline(dump: Dump, limit: int) -> dict[str, Any]:
    """The launches of the flight recorder, the first wrong one and the one that faulted."""
    launches, sequence = launch_summaries(dump.history), faulted_sequence(dump)
    first = next((at for at, each in enumerate(launches) if each.fresh), None)
    fault = next((at for at, each in enumerate(launches) if each.sequence == sequence), None)
    if fault is None and dump.launch is not None and dump.fault.invariant:
        same = dump.launch.launch_id
        fault = next((at for at, each in enumerate(launches) if each.check == same), None)
    start, stop = 0, len(launches)
    if stop > limit:  # the newest, and where they begin later than the first wrong one, that one
        start = max(min(stop - limit, (first or stop) - limit // 8), 0)
        stop = start + limit
    return {
        "since": since(dump),
        "launches": [{"name": each.name, **asdict(each)} for each in launches[start:stop]],
        "total": len(launches),
        "first_wrong": None if first is None else first - start,
        "fault": fault - start if fault is not None and start <= fault < stop else None,
    }


def _launch(dump: Dump) -> dict[str, Any] | None:
    if dump.launch is None:
        return None
    launch = asdict(dump.launch)
    for name in ("cum_seq_lens_q", "cum_seq_lens_kv"):
        del launch[name]  # one number a row; `show --json` has them
    return {**launch, "backend": None if dump.backend is None else asdict(dump.backend)}
