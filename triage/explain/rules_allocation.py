"""Rules about pages that nobody owns any more, or that two requests own."""

from __future__ import annotations

import numpy as np

from triage.dump.expected_ids import UNKNOWN
from triage.explain.case import Case
from triage.explain.cause import Cause, Confidence

_SGLANG = "https://github.com/sgl-project/sglang"


def freed_page(case: Case) -> Cause | None:
    """A token that is still visible has no SWA page: it was evicted or freed too early."""
    if not case.reads_swa or case.ids is None or case.ids.swa is None:
        return None
    gone = case.seen & (case.ids.swa == 0) & (case.ids.full > 0)
    if not gone.any():
        return None
    follows = bool((case.table[gone] == 0).all())
    kept = (
        "and the table follows it to the dummy page" if follows else "and the table still has one"
    )
    count = int(gone.sum())
    return Cause(
        key="freed-page",
        name="freed SWA page read inside the window (use after free)",
        confidence=Confidence.HIGH if follows else Confidence.MEDIUM,
        evidence=(
            f"{count} visible entries have no SWA page in the mapping, {kept}",
            "the request still holds their full-pool slots",
        ),
        rows=case.cite(gone),
        refuted_by=("an eviction frontier at or before the start of the oldest query's window",),
        fix="find what frees SWA pages ahead of the window: the eviction frontier, or "
        "free_swa on a partly used page",
        links=(f"{_SGLANG}/issues/38519",),
    )


def page_owned_twice(case: Case) -> Cause | None:
    """Two visible tokens of different positions have the same page: it was handed out twice.

    Requests with a common prefix share a page at the same position, which is legal.
    """
    if case.expected is None:
        return None
    owned = case.seen & (case.expected != UNKNOWN) & (case.expected > 0)
    rows, columns = np.nonzero(owned)
    pages = case.expected[rows, columns]
    order = np.lexsort((columns, pages))
    pages, columns, rows = pages[order], columns[order], rows[order]
    twice = (pages[1:] == pages[:-1]) & (columns[1:] != columns[:-1])
    if not twice.any():
        return None
    mask = np.zeros_like(owned)
    for at in np.flatnonzero(twice):
        mask[rows[at], columns[at]] = mask[rows[at + 1], columns[at + 1]] = True
    shared = len(np.unique(pages[1:][twice]))
    return Cause(
        key="page-owned-twice",
        name="one page owned by two tokens (double free, or an alias)",
        confidence=Confidence.HIGH,
        evidence=(f"{shared} pages belong to visible tokens at different positions",),
        rows=case.cite(mask),
        refuted_by=("requests that share the page as a common prefix, at the same position",),
        fix="find the second free of the page: compare the free list with the request table",
        links=(f"{_SGLANG}/issues/38519",),
    )
