"""kv_canary's violation lines, as entries of a dump's history.

Its structured line is `kv_canary violation: key=value ...`. Token ids are
dropped: a dump holds none.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from triage.dump.sections import Dump

_LINE = re.compile(
    r"kv_canary violation: launch_tag=(?P<launch_tag>\S+) fail_reason=(?P<fail_reason>\S+) "
    r"slot_idx=(?P<slot>-?\d+) position=(?P<position>-?\d+)"
)
MAX_LINES = 512


def parse(text: str) -> list[dict[str, Any]]:
    """The newest MAX_LINES violations."""
    return [
        {
            "source": "kv_canary",
            "launch_tag": match["launch_tag"][:64],
            "fail_reason": match["fail_reason"][:256],
            "slot": int(match["slot"]),
            "position": int(match["position"]),
        }
        for match in _LINE.finditer(text)
    ][-MAX_LINES:]


def add_to(dump: Dump, violations: list[dict[str, Any]]) -> Dump:
    """`dump` with the violations in its history, those on its rows' pages marked."""
    rows = _rows_by_page(dump)
    page_size = dump.launch.page_size if dump.launch is not None else 0
    entries = [
        each | {"rows": rows.get(each["slot"] // page_size, []) if page_size else []}
        for each in violations
    ]
    return replace(dump, history=(*dump.history, *entries))


def _rows_by_page(dump: Dump) -> dict[int, list[int]]:
    """Full-pool page -> the launch's rows that hold it."""
    if dump.launch is None or dump.tables is None or dump.tables.req_to_token is None:
        return {}
    rows: dict[int, list[int]] = {}
    for row in range(len(dump.tables.req_to_token)):
        for slot in dump.tables.req_to_token.row(row).tolist():
            rows.setdefault(slot // dump.launch.page_size, []).append(row)
    return rows
