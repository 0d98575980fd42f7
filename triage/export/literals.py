"""A dump as the literals that every exported file begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from triage.dump.expected_ids import expected_ids, query_lens, reads_target_swa, tables_of, visible
from triage.dump.sections import Dump
from triage.explain import explain
from triage.files.text import printable

MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class Literals:
    """Names and values of the case, and sentences about it. Values are plain Python."""

    values: dict[str, Any]
    recorded: str
    cause: str
    links: tuple[str, ...]
    rebuilding_fixes: bool

    @classmethod
    def of(cls, dump: Dump) -> Literals:
        assert dump.launch is not None
        launch, tables = dump.launch, tables_of(dump)
        rows = len(tables.cache_seqlens)
        q_lens = np.broadcast_to(np.asarray(query_lens(dump)), (rows,))
        named = explain(dump).named
        mapping = None
        if reads_target_swa(dump) and tables.mapping is not None:
            mapping = {int(slot): int(peer) for slot, peer in tables.mapping.tolist()}
        facts = launch.tensors.get("block_tables")
        width = int(np.diff(tables.page_table.offsets).max(initial=0))
        values = {
            "PAGE_SIZE": launch.page_size,
            "NUM_PAGES": launch.num_pages,
            "WINDOW_LEFT": launch.window_left,
            "MAX_SEQ_LEN": launch.max_seq_len,
            "NUM_Q_HEADS": launch.num_q_heads,
            "NUM_KV_HEADS": launch.num_kv_heads,
            "HEAD_DIM": launch.head_dim,
            "Q_LENS": [int(length) for length in q_lens],
            "CACHE_SEQLENS": [int(length) for length in tables.cache_seqlens],
            "PAGE_TABLE": [tables.page_table.row(row).tolist() for row in range(rows)],
            "PAGE_STARTS": None
            if tables.req_to_token is None
            else [tables.req_to_token.row(row).tolist() for row in range(rows)],
            "FULL_TO_SWA": mapping,
            "TABLE_DTYPE": "int32" if facts is None else _clean(facts.dtype),
            "TABLE_STRIDE": [width, 1] if facts is None else [int(each) for each in facts.stride],
            "TABLE_WIDTH": width if facts is None else int(facts.shape[-1]),
        }
        return cls(
            values=values,
            recorded=_clean(f"{dump.fault.invariant}: {dump.fault.summary}"),
            cause=" or ".join(cause.name for cause in named) or "unknown",
            links=tuple(link for cause in named for link in cause.links),
            rebuilding_fixes=_rebuilding_fixes(dump),
        )

    def assignments(self) -> str:
        """The values as Python assignments, one name a line."""
        return "\n".join(f"{name} = {value!r}" for name, value in self.values.items())


def _rebuilding_fixes(dump: Dump) -> bool:
    """Is the right page of every visible entry known, and one that a token may own?"""
    right = expected_ids(dump)
    if right is None or dump.launch is None:
        return False
    owned = (right >= 1) & (right < dump.launch.num_pages)
    return bool(owned[visible(dump, right.shape[1])].all())


def _clean(text: str) -> str:
    """ASCII without control characters, quotes or backslashes: safe in any comment or docstring."""
    kept = "".join(char for char in printable(text) if char.isascii() and char not in "\\\"'`")
    return kept[:MAX_TEXT]
