"""Rules about a table whose form the kernel misreads, told from its facts alone."""

from __future__ import annotations

import numpy as np

from triage.explain.case import LaunchCase
from triage.explain.cause import Cause, Citation, Confidence

_SGLANG = "https://github.com/sgl-project/sglang"


def misread_table(case: LaunchCase) -> Cause | None:
    """An int64 or column-sliced table: the launcher checks neither type nor stride."""
    if not case.misread:
        return None
    return Cause(
        key="misread-table",
        name="table of a type or stride that the kernel misreads",
        confidence=Confidence.HIGH,
        evidence=(case.misread,),
        refuted_by=("a contiguous int32 table at the launch",),
        fix="pass table.to(torch.int32).contiguous()",
    )


def narrow_table(case: LaunchCase) -> Cause | None:
    """Rows are longer than the table is wide."""
    facts = case.launch.tensors.get("block_tables")
    shape = case.table.shape if facts is None or len(facts.shape) != 2 else facts.shape
    width = shape[1]
    room = width * case.launch.page_size
    lengths = case.tables.cache_seqlens[: case.rows]
    short = np.flatnonzero(lengths > room)
    if not len(short):
        return None
    longest = int(lengths.max())
    return Cause(
        key="narrow-table",
        name="table narrower than its rows' lengths",
        confidence=Confidence.HIGH,
        evidence=(
            f"{width} columns of {case.launch.page_size} tokens hold {room} tokens, "
            f"{len(short)} rows are longer (up to {longest})",
        ),
        rows=tuple(
            Citation(int(row), width - 1, int(case.table[row, -1]), None)
            for row in short
            if case.table.shape[1]
        ),
        refuted_by=("a table whose width times page size reaches the longest row",),
        fix="size the table for the longest row, its draft tokens included",
        links=(f"{_SGLANG}/issues/35985",),
        not_recorded=_WHICH if _past_the_maximum(case) else (),
    )


_WHICH = ("whether the lengths or the table's width are those of the batch",)


def lengths_past_the_maximum(case: LaunchCase) -> Cause | None:
    """Rows are longer than the launch itself says that any is: the lengths may be what is wrong."""
    past = _past_the_maximum(case)
    if not past:
        return None
    return Cause(
        key="lengths-disagree",
        name="lengths above the launch's own maximum",
        confidence=Confidence.MEDIUM,
        evidence=(
            f"{past} rows are longer than max_seq_len = {case.launch.max_seq_len} "
            f"(up to {int(case.tables.cache_seqlens[: case.rows].max())})",
        ),
        refuted_by=("a max_seq_len that was taken from another batch",),
        fix="compare cache_seqlens and max_seq_len with the batch when the metadata is built",
        not_recorded=_WHICH,
    )


def _past_the_maximum(case: LaunchCase) -> int:
    """Rows beyond `max_seq_len`; 0 where it is not recorded, or taken from the table's width."""
    if case.launch.max_seq_len <= 0 or case.tables.source:
        return 0
    return int((case.tables.cache_seqlens[: case.rows] > case.launch.max_seq_len).sum())
