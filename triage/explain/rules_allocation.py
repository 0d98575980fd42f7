"""Rules about pages that nobody owns any more, or that two requests own."""

from __future__ import annotations

import numpy as np

from triage.dump.expected_ids import UNKNOWN
from triage.explain.case import LaunchCase
from triage.explain.cause import Cause, Confidence

_SGLANG = "https://github.com/sgl-project/sglang"


def freed_page(case: LaunchCase) -> Cause | None:
    """A token that is still visible has no SWA page: it was evicted or freed too early."""
    gone = _unmapped(case)
    if gone is None:
        return None
    return Cause(
        key="freed-page",
        name="freed SWA page read inside the window (use after free)",
        confidence=_as_sure(case, gone),
        evidence=_gone(case, gone),
        rows=case.cite(gone),
        refuted_by=("an eviction frontier at or before the start of the oldest query's window",),
        fix="find what frees SWA pages ahead of the window: the eviction frontier, or "
        "free_swa on a partly used page",
        links=(f"{_SGLANG}/issues/38519",),
        not_recorded=("whether the SWA page was freed, or only its mapping cleared",),
    )


def evicted_at_the_edge(case: LaunchCase) -> Cause | None:
    """A draft's oldest visible page has no SWA page, and the draft sees one key of it.

    Without overlap the frontier is that of a query one token later, which a frozen-KV draft is
    not: its window begins one key earlier. For dumps that hold the right ids and no mapping.
    """
    if not case.reads_swa or case.expected is None or (case.ids and case.ids.swa is not None):
        return None
    server = case.dump.provenance.get("server") or {}
    if server.get("disable_overlap_schedule") is not True:
        return None
    gone = case.seen & (case.table == 0) & (case.expected == 0)
    if case.backend is None or case.backend.role != "draft" or not gone.any():
        return None
    at = np.flatnonzero(gone.any(axis=1))
    alone = gone[at].sum(axis=1) == 1
    oldest = gone[at].argmax(axis=1) == case.seen[at].argmax(axis=1)
    page, window = case.launch.page_size, case.launch.window_left
    keys_of_it = page - (case.tables.cache_seqlens[at] - 1 - window) % page
    if not (alone & oldest & (keys_of_it == 1)).all():
        return None
    return Cause(
        key="freed-page",
        name="a draft's oldest visible SWA page was evicted one token too early",
        confidence=Confidence.MEDIUM,
        evidence=(
            f"the oldest visible page of {len(at)} rows has no SWA page, the others have theirs",
            "one key of it is visible: the window begins one token before the next page",
            "the draft runs without overlap, where nothing lags behind the eviction frontier",
        ),
        rows=case.cite(gone),
        refuted_by=("lengths of the draft that are one token too short",),
        fix="subtract one token more in the eviction frontier where the draft reads the target's "
        "pool (window-edge-evicted in docs/sglang-bugs.md), or serve with overlap",
        not_recorded=("whether the SWA page was freed, or only its mapping cleared",),
    )


def mapping_lost(case: LaunchCase) -> Cause | None:
    """The same from the other side: the page is held, and only its mapping was cleared."""
    gone = _unmapped(case)
    if gone is None:
        return None
    return Cause(
        key="stale-mapping",
        name="the mapping of a visible token was cleared, though its page may be held",
        confidence=_as_sure(case, gone),
        evidence=_gone(case, gone),
        rows=case.cite(gone),
        refuted_by=("an SWA free list that names the page the token had",),
        fix="arm the families allocator and lifecycle: they name the call that cleared it",
        links=(f"{_SGLANG}/pull/27779",),
        not_recorded=("whether the SWA page was freed, or only its mapping cleared",),
    )


def _unmapped(case: LaunchCase) -> np.ndarray | None:
    """Visible entries whose token has a full-pool slot and no SWA page; None if there are none."""
    if not case.reads_swa or case.ids is None or case.ids.swa is None:
        return None
    gone: np.ndarray = case.seen & (case.ids.swa == 0) & (case.ids.full > 0)
    return gone if gone.any() else None


def _as_sure(case: LaunchCase, gone: np.ndarray) -> Confidence:
    """The table that follows the mapping to the dummy page was built after it was cleared."""
    return Confidence.HIGH if bool((case.table[gone] == 0).all()) else Confidence.MEDIUM


def _gone(case: LaunchCase, gone: np.ndarray) -> tuple[str, ...]:
    follows = bool((case.table[gone] == 0).all())
    kept = (
        "and the table follows it to the dummy page" if follows else "and the table still has one"
    )
    return (
        f"{int(gone.sum())} visible entries have no SWA page in the mapping, {kept}",
        "the request still holds their full-pool slots",
    )


def page_owned_twice(case: LaunchCase) -> Cause | None:
    """Two visible tokens of different positions have the same page: it was handed out twice.

    Requests with a common prefix share a page at the same position, which is legal.
    """
    mask = _shared(case)
    if mask is None:
        return None
    return Cause(
        key="page-owned-twice",
        name="one page owned by two tokens (double free, or an alias)",
        confidence=Confidence.HIGH,
        evidence=(_shared_text(case, mask),),
        rows=case.cite(mask),
        refuted_by=("requests that share the page as a common prefix, at the same position",),
        fix="find the second free of the page: compare the free list with the request table",
        links=(f"{_SGLANG}/issues/38519",),
        not_recorded=_MAPPING_OR_POOL if _by_mapping(case, mask) else (),
    )


def mapping_shares_a_page(case: LaunchCase) -> Cause | None:
    """The same, where the full pages differ: the mapping may take two of them to one SWA page."""
    mask = _shared(case)
    if mask is None or not _by_mapping(case, mask):
        return None
    return Cause(
        key="stale-mapping",
        name="the mapping takes two full pages to one SWA page",
        confidence=Confidence.HIGH,
        evidence=(_shared_text(case, mask), "their full-pool pages differ"),
        rows=case.cite(mask),
        refuted_by=("an SWA allocator that handed the page out twice",),
        fix="arm the families allocator and lifecycle: they name the call that wrote the mapping",
        links=(f"{_SGLANG}/issues/36081",),
        not_recorded=_MAPPING_OR_POOL,
    )


_MAPPING_OR_POOL = ("whether the SWA page was handed out twice, or the mapping is wrong",)


def _shared(case: LaunchCase) -> np.ndarray | None:
    """Visible entries whose page belongs to a token at another position too; None without one."""
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
    return mask


def _shared_text(case: LaunchCase, mask: np.ndarray) -> str:
    assert case.expected is not None
    shared = len(np.unique(case.expected[mask]))
    return f"{shared} pages belong to visible tokens at different positions"


def _by_mapping(case: LaunchCase, mask: np.ndarray) -> bool:
    """Are the shared SWA pages those of different full pages?"""
    if case.ids is None or not case.reads_swa:
        return False
    return len(np.unique(case.ids.full[mask])) > len(np.unique(case.expected[mask]))  # type: ignore[index]
