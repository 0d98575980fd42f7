"""The fault of a dump that was cut: its offenders are counted again, its text stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from triage.dump.expected_ids import UNKNOWN
from triage.dump.sections import Dump
from triage.evidence import Violation
from triage.explain.case import LaunchCase
from triage.invariants.found import Found

MAX_VIOLATIONS = 4


def recount(dump: Dump) -> Dump:
    """`dump` with a fault whose rows and columns are those that are left."""
    case = LaunchCase.of(dump)
    if case is None:
        return dump
    outside = case.outside()
    bad = outside | case.wrong() | (case.seen & (case.table == 0))
    rows, columns = np.nonzero(bad)
    requests, ids = case.tables.req_pool_indices, case.tables.request_ids
    violations = tuple(
        Violation(
            invariant=dump.fault.invariant,
            tensor="block_tables",
            row=row,
            column=column,
            value=int(case.table[row, column]),
            low=1,
            high=case.launch.num_pages,
            expected=_expected(case, row, column),
            req_pool_index=None if requests is None else int(requests[row]),
            request_id=ids[row] if ids else "",
            in_window=True,
            kind=Found.PAGE_OUTSIDE_POOL if outside[row, column] else Found.WRONG_PAGE,
        )
        for row, column in list(zip(rows.tolist(), columns.tolist(), strict=True))[:MAX_VIOLATIONS]
    )
    fault = replace(
        dump.fault,
        total=len(rows),
        rows_affected=len(np.unique(rows)),
        violations=violations,
        facts={},
        kind="",
    )
    return replace(dump, fault=fault)


def _expected(case: LaunchCase, row: int, column: int) -> int | None:
    right = UNKNOWN if case.expected is None else int(case.expected[row, column])
    return None if right == UNKNOWN else right
