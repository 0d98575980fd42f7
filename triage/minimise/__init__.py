"""Delta debugging of a dump: the smallest launch that still fails in the same way.

A reduction is kept if the dump's `Signature` stays: what was recorded, the
cause that explain names, what the emulator says, and what it says once the
proposed fix is applied, so that a small case fails before the fix and passes
after it exactly where the large one does. No randomness: the same dump gives
the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from triage.dump.expected_ids import launch_columns, query_lens
from triage.dump.file import encode
from triage.dump.sections import Dump
from triage.errors import ReplayError
from triage.minimise.cuts import strip
from triage.minimise.fault import recount
from triage.minimise.passes import PASSES
from triage.minimise.signature import Signature, signature_of

MAX_TRIALS = 2000

Progress = Callable[["Size", str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a case is, in what a reader has to look at."""

    rows: int
    visible_pages: int
    stored_entries: int
    window_left: int
    q_heads: int
    head_dim: int
    encoded_bytes: int

    @classmethod
    def of(cls, dump: Dump) -> Size:
        assert dump.launch is not None and dump.tables is not None
        edges = launch_columns(dump)
        return cls(
            rows=len(dump.tables.cache_seqlens),
            visible_pages=int((edges.high - edges.must_low).sum()),
            stored_entries=len(dump.tables.page_table.values),
            window_left=dump.launch.window_left,
            q_heads=dump.launch.num_q_heads,
            head_dim=dump.launch.head_dim,
            encoded_bytes=len(encode(dump)),
        )


@dataclass(frozen=True, slots=True)
class Minimised:
    """`dump` is the smallest case found; `trials` counts the launches that were judged."""

    dump: Dump
    signature: Signature
    before: Size
    after: Size
    trials: int


def minimise(dump: Dump, progress: Progress | None = None) -> Minimised | None:
    """The smallest dump with the signature of `dump`; None if `dump` does not fail.

    Raises:
        ReplayError: if the dump holds no launch to judge.
    """
    if dump.launch is None or dump.tables is None:
        raise ReplayError("the dump holds no launch with its tables, there is nothing to shrink")
    signature = signature_of(dump)
    if signature is None or not signature.fails:
        return None
    before, trials, best = Size.of(dump), 0, dump
    shrunk = True
    while shrunk and trials < MAX_TRIALS:
        shrunk = False
        for name, candidates in PASSES.items():
            accepted, tried = _first_accepted(best, signature, candidates, MAX_TRIALS - trials)
            trials += tried
            if accepted is not best:
                best, shrunk = accepted, True
                if progress is not None:
                    progress(Size.of(best), name)
    final = recount(strip(best))
    final = replace(final, provenance={**final.provenance, "minimised": _origin(dump, before)})
    return Minimised(final, signature, before, Size.of(final), trials)


def why_nothing_fails(dump: Dump) -> str:
    """Of a dump that `minimise` answers None for: what its launch shows, and what was recorded."""
    recorded = dump.fault.invariant
    if not recorded:
        return "this dump does not fail"
    return f"this dump does not fail by its page table and lengths, which do not show {recorded}"


def _first_accepted(
    dump: Dump, signature: Signature, candidates: Any, budget: int
) -> tuple[Dump, int]:
    """Follow a pass: it is told of each candidate whether that kept the signature."""
    search = candidates(dump)
    best, tried = dump, 0
    try:
        candidate = next(search)
        while tried < budget:
            tried += 1
            kept = _measure(candidate) < _measure(best) and signature_of(candidate) == signature
            if kept:
                best = candidate
            candidate = search.send(kept)
    except StopIteration:
        pass
    return best, tried


def _measure(dump: Dump) -> tuple[int, ...]:
    """What must go down with every accepted cut, the weightiest first."""
    launch, tables = dump.launch, dump.tables
    assert launch is not None and tables is not None
    edges = launch_columns(dump)
    return (
        len(tables.cache_seqlens),
        int((edges.high - edges.must_low).sum()),
        len(tables.page_table.values),
        int(np.sum(query_lens(dump))),
        launch.window_left,
        launch.num_q_heads * launch.head_dim + launch.num_kv_heads,
        launch.max_seq_len + len(launch.arguments) + len(dump.history) + len(dump.provenance),
    )


def _origin(dump: Dump, before: Size) -> dict[str, Any]:
    assert dump.launch is not None
    return {
        "rows": before.rows,
        "visible_pages": before.visible_pages,
        "bytes": before.encoded_bytes,
        "launch_id": dump.launch.launch_id,
    }
