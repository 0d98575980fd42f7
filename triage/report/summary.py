"""What `triage show` prints, as plain data: one summary, for JSON and terminal alike."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from triage.dump.expected_ids import UNKNOWN, launch_columns, query_lens
from triage.dump.history import launch_summaries, since
from triage.dump.sections import Dump
from triage.explain.case import LaunchCase
from triage.explain.observed import related

MAX_COLUMNS = 12


ROWS = 8


def summarise(dump: Dump, *, rows: int | None = None, whole: bool = False) -> dict[str, Any]:
    """Every section in short; of the table the first rows, those with bad entries first.

    rows: how many; ROWS of them if not given, or all where `whole` is asked for.
    whole: leave out no entry of a row that some query can see.
    """
    case = LaunchCase.of(dump)
    if rows is None:
        rows = ROWS if case is None or not whole else len(case.table)
    return {
        "format_version": dump.format_version,
        "fault": asdict(dump.fault),
        "launch": _launch(dump),
        "observed": [] if case is None else list(case.observed()),
        "reported": [each.as_dict() for each in related(dump)],
        "pools": None if dump.pools is None else asdict(dump.pools),
        "rows": [] if case is None else _rows(case, rows, whole),
        "tables_from": "" if dump.tables is None else dump.tables.source,
        "rows_total": 0 if case is None else len(case.table),
        "backend": None if dump.backend is None else asdict(dump.backend),
        "history": [asdict(moment) for moment in launch_summaries(dump.history)],
        "history_total": len(dump.history),
        "since": since(dump),
        "provenance": dump.provenance,
        "kv": {name: list(array.shape) for name, array in (dump.kv or {}).items()},
        "unknown_sections": {name: len(body) for name, body in dump.extra.items()},
    }


def _launch(dump: Dump) -> dict[str, Any] | None:
    if dump.launch is None:
        return None
    launch = asdict(dump.launch)
    for name in ("cum_seq_lens_q", "cum_seq_lens_kv"):
        if launch[name] is not None:
            launch[name] = launch[name].tolist()
    return launch


def _rows(case: LaunchCase, count: int, whole: bool) -> list[dict[str, Any]]:
    wrong, outside = case.wrong(), case.outside()
    bad = wrong | outside
    order = np.argsort(-bad.any(axis=1).astype(np.int8), kind="stable")[:count]
    edges = launch_columns(case.dump)
    q_lens = np.broadcast_to(np.asarray(query_lens(case.dump)), (len(case.table),))
    requests = case.tables.req_pool_indices
    ids = case.tables.request_ids
    return [
        {
            "row": row,
            "request": None if requests is None else int(requests[row]),
            "request_id": ids[row] if ids else "",
            "length": int(case.tables.cache_seqlens[row]),
            "q_len": int(q_lens[row]),
            "visible_columns": [int(edges.must_low[row]), int(edges.high[row])],
            "padding": row >= case.rows,
            "bad": int(bad[row].sum()),
            "entries": _entries(case, row, outside[row], wrong[row], whole),
            "entries_total": int(case.seen[row].sum()),
        }
        for row in order.tolist()
    ]


def _entries(
    case: LaunchCase, row: int, outside: np.ndarray, wrong: np.ndarray, whole: bool
) -> list[dict[str, Any]]:
    """The last visible entries of a row, bad ones before sound ones where not all fit."""
    columns = np.flatnonzero(case.seen[row])
    ranked = columns[np.argsort(~(outside | wrong)[columns], kind="stable")]
    ranked = ranked if whole else ranked[:MAX_COLUMNS]
    entries = []
    for column in np.sort(ranked).tolist():
        right = UNKNOWN if case.expected is None else int(case.expected[row, column])
        entries.append(
            {
                "column": column,
                "value": int(case.table[row, column]),
                "expected": None if right == UNKNOWN else right,
                "outside": bool(outside[column]),
                "wrong": bool(wrong[column]),
            }
        )
    return entries
