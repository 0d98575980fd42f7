"""What reports are made of in tests: a history, and a launch as large as a server's largest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests import dumps_fixture as dumps
from triage.dump.sections import Dump


def history(launches: int, wrong_at: int = 120) -> tuple[dict[str, Any], ...]:
    """A ring of that many launches, ids wrong from one on."""
    return tuple(
        {
            "sequence": 1000 + at,
            "checker_launch": 5000 + at,
            "step": 40 + at // 7,
            "offenders": max(at - wrong_at + 1, 0) // 50 * 3 + 3 * (at >= wrong_at),
            "space": "swa" if at % 2 else "full",
            "layer_id": at % 2 * 22,
            "role": "draft" if at % 7 < 3 else "target",
            "forward_mode": "DECODE",
            "graph": 0 if at % 5 else 8,
            "rows": 64,
            "cache_seqlens": np.array([8000 + at, 100], dtype=np.int32),
            "stale": "_swa_kv_pool is None" if at >= wrong_at and at % 7 < 3 else "",
        }
        for at in range(launches)
    )


def with_history(dump: Dump, launches: int = 300) -> Dump:
    """`dump` as the last launch of a ring."""
    facts = {"faulted": {"sequence": 999 + launches}}
    return replace(dump, history=history(launches), fault=replace(dump.fault, facts=facts))


def large(rows: int = 256, columns: int = 2048) -> Dump:
    """A launch without a window whose table is `(rows, columns)`; one entry leaves the cache."""
    page = dumps.E4B.page_size
    sizes = replace(
        dumps.E4B, rows=rows, swa_pages=30_000, shortest=columns * page - 900,
        longest=columns * page,
    )  # fmt: skip
    rng = np.random.default_rng(sizes.seed)
    lengths = rng.integers(sizes.shortest, sizes.longest, rows).astype(np.int32)
    pages = rng.integers(1, sizes.swa_pages, (rows, columns))
    mapped = np.concatenate([[0], rng.integers(1, sizes.swa_pages, sizes.full_pages)])
    dump = dumps.make_dump(sizes, "right", state=dumps.State(sizes, lengths, pages, mapped))
    assert dump.tables is not None and dump.launch is not None
    values = dump.tables.page_table.values.copy()
    values[dump.tables.page_table.offsets[200 % rows] + 1500 % columns] = 31_000
    table = replace(dump.tables.page_table, values=values)
    return replace(
        dump,
        tables=replace(dump.tables, page_table=table),
        launch=replace(dump.launch, window_left=-1),
    )
