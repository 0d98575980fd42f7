"""Rules about rows that belong to nobody or to somebody else."""

from __future__ import annotations

import numpy as np

from triage.dump.expected_ids import UNKNOWN
from triage.explain.case import MATCH_SHARE, LaunchCase
from triage.explain.cause import Cause, Citation, Confidence


def padded_row(case: LaunchCase) -> Cause | None:
    """Only CUDA-graph padding rows hold ids outside the cache."""
    first = case.rows
    if first >= len(case.table) or case.outside().any() or case.wrong().any():
        return None
    lengths = case.tables.cache_seqlens[first:].astype(np.int64)
    live = np.arange(case.table.shape[1]) < -(-lengths[:, None] // case.launch.page_size)
    padding = case.table[first:]
    bad = live & ((padding < 0) | (padding >= case.launch.num_pages))
    if not bad.any():
        return None
    rows, columns = np.nonzero(bad)
    return Cause(
        key="padded-row",
        name="CUDA-graph padding row with live ids",
        confidence=Confidence.HIGH,
        evidence=(
            f"rows {first} and up are padding, {len(np.unique(rows))} of them hold ids outside "
            "the cache within their length; no real row does",
        ),
        rows=tuple(
            Citation(int(row) + first, int(column), int(padding[row, column]), 0)
            for row, column in zip(rows, columns, strict=True)
        ),
        refuted_by=("a batch size that covers those rows",),
        fix="fill padded rows with request 0, the fill length and page 0 before the replay",
    )


def other_requests_row(case: LaunchCase) -> Cause | None:
    """A row holds the pages of another row's request: a stale row, or a wrong request index."""
    if case.expected is None or case.misread:
        return None
    owned = case.seen & (case.expected != UNKNOWN) & (case.expected > 0)
    rows, columns = np.nonzero(owned)
    pages = case.expected[rows, columns]
    order = np.argsort(pages, kind="stable")
    pages, owners = pages[order], rows[order]
    wrong = case.wrong()
    strangers: list[tuple[int, int]] = []
    partly: list[tuple[int, int]] = []
    single: set[tuple[int, int]] = set()  # rows with one wrong entry
    mask = np.zeros_like(wrong)
    for row in np.flatnonzero(wrong.any(axis=1)).tolist():
        ids = case.table[row][wrong[row]]
        if not len(pages):
            break
        place = np.minimum(np.searchsorted(pages, ids), len(pages) - 1)
        held = owners[place][(pages[place] == ids) & (owners[place] != row)]
        if not len(held):
            continue
        owner, count = max(
            zip(*np.unique(held, return_counts=True), strict=True), key=lambda pair: pair[1]
        )
        if len(ids) == 1:
            single.add((row, int(owner)))
        elif count >= MATCH_SHARE * len(ids):
            known = owned[row] & (case.expected[row] != case.table[row])
            whole = int(known.sum()) == int(owned[row].sum())
            (strangers if whole else partly).append((row, int(owner)))
            mask[row] = wrong[row]
    if partly and not strangers:
        return _part_of_a_row(case, partly, mask)
    if not strangers:
        return _exchanged(case, single) or _rows_of_nobody(case)
    pairs = ", ".join(
        f"{case.name_of(row)} holds {case.name_of(owner)}'s" for row, owner in strangers[:4]
    )
    if partly:
        pairs += f"; {len(partly)} more rows hold another row's in a part"
    return Cause(
        key="other-requests-row",
        name="row built for another request (stale row or wrong request index)",
        confidence=Confidence.MEDIUM,
        evidence=(f"{len(strangers)} rows hold another row's pages: {pairs}",),
        rows=case.cite(mask),
        refuted_by=("the same rows right at the moment the table was built",),
        fix="check that metadata is rebuilt for this batch, and the request indices it used",
    )


def unwritten_slots(case: LaunchCase) -> Cause | None:
    """Rows name their request's own slots, and more of them than hold anything yet.

    `cached` is noted of a launch whose forward writes its own tokens behind it (ragged prefill).
    """
    cached = case.dump.fault.facts.get("cached")
    if not isinstance(cached, list) or case.outside().any() or case.wrong().any():
        return None
    lengths = case.tables.cache_seqlens.tolist()
    past = [
        (row, int(length), int(held))
        for row, (length, held) in enumerate(zip(lengths, cached, strict=False))
        if length > held
    ]
    if not past:
        return None
    mask = np.zeros_like(case.seen)
    for row, length, held in past:
        mask[row, held:length] = True
    row, length, held = past[0]
    return Cause(
        key="unwritten-slots-read",
        name="slots are read that this forward writes only later: past the cached prefix",
        confidence=Confidence.HIGH,
        evidence=(
            f"{case.name_of(row)} is read up to token {length}, and {held} are cached: the "
            f"{length - held} behind are slots of this forward's own tokens, not written yet",
            f"{len(past)} of {len(cached)} rows go past their prefix; every slot is their own",
        ),
        rows=case.cite(mask),
        refuted_by=("keys of this forward that are written before the launch",),
        fix="plan the paged wrapper beside a ragged one over the prefix alone",
        links=("https://github.com/sgl-project/sglang/pull/26513",),
    )


def _exchanged(case: LaunchCase, single: set[tuple[int, int]]) -> Cause | None:
    """Two rows are wrong in one entry each, and each names the page that is the other's there.

    One entry that names another's page tells less: its page may have been freed and given away.
    """
    expected, wrong = case.expected, case.wrong()
    if expected is None:
        return None
    pairs = sorted((row, owner) for row, owner in single if row < owner and (owner, row) in single)
    pairs = [
        (row, owner)
        for row, owner in pairs
        if case.table[row][wrong[row]] == expected[owner][wrong[owner]]
        and case.table[owner][wrong[owner]] == expected[row][wrong[row]]
    ]
    if not pairs:
        return None
    mask = np.zeros_like(wrong)
    rows = [row for pair in pairs for row in pair]
    mask[rows] = wrong[rows]
    exchanged = ", ".join(f"rows {row} and {owner}" for row, owner in pairs[:4])
    exchanged += f" and {len(pairs) - 4} more pairs" if len(pairs) > 4 else ""
    return Cause(
        key="exchanged-pages",
        name="two requests read each other's page (entries exchanged)",
        confidence=Confidence.MEDIUM,
        evidence=(
            f"{exchanged} are wrong in one entry each, which is the other's right page there",
        ),
        rows=case.cite(mask),
        refuted_by=("a page that both requests hold",),
        fix="find what writes single entries of the table after it was filled",
    )


def _part_of_a_row(case: LaunchCase, partly: list[tuple[int, int]], mask: np.ndarray) -> Cause:
    """Some entries of a row are another row's and the rest are its own."""
    pairs = ", ".join(
        f"{case.name_of(row)} in a part {case.name_of(owner)}'s" for row, owner in partly[:4]
    )
    return Cause(
        key="foreign-part-of-row",
        name="a part of a row names another request's pages (spilled into, or left from before)",
        confidence=Confidence.MEDIUM,
        evidence=(f"{len(partly)} rows are wrong in a part only: {pairs}",),
        rows=case.cite(mask),
        refuted_by=("a row that is another's at every visible entry",),
        fix="compare the row's width and the length it was built for with those of its neighbour",
    )


def divided_to_nothing(case: LaunchCase) -> Cause | None:
    """The same rows: small ids that are divided, or translated as slots, once more are all 0.

    Only without the request table: with it `divided_twice` can tell.
    """
    mask = _dummy_throughout(case)
    if case.ids is not None or case.misread or mask is None or case.launch.page_size == 1:
        return None
    return Cause(
        key="divided-twice",
        name="page ids divided by the page size twice",
        confidence=Confidence.MEDIUM,
        evidence=(
            f"{int(mask.sum())} visible entries are 0 and should be pages: ids below the page size "
            f"{case.launch.page_size} that are divided, or looked up as slots, once more are 0",
        ),
        rows=case.cite(mask),
        refuted_by=("a table builder that divides only once",),
        fix="divide once by the page size where the table is built",
        links=("https://github.com/sgl-project/sglang/issues/38187",),
        not_recorded=("the request table",),
    )


def _dummy_throughout(case: LaunchCase) -> np.ndarray | None:
    """The entries of rows that are 0 at every visible entry and should be so at none."""
    mask = case.wrong() & (case.table == 0)
    whole = (mask.sum(axis=1) > 1) & (mask == case.seen).all(axis=1)
    mask[~whole] = False
    return mask if whole.any() else None


def _rows_of_nobody(case: LaunchCase) -> Cause | None:
    """The table of a request that has finished, or of none, names the dummy page throughout."""
    mask = _dummy_throughout(case)
    if mask is None:
        return None
    return Cause(
        key="other-requests-row",
        name="row built for a request that holds nothing (wrong request index, or one finished)",
        confidence=Confidence.MEDIUM,
        evidence=(
            f"{int(mask.any(axis=1).sum())} rows name the dummy page at every visible entry, "
            "while their requests have pages for all of them",
        ),
        rows=case.cite(mask),
        refuted_by=(
            "a mapping that was written after the table was built",
            "ids that a second division by the page size makes 0",
        ),
        fix="check the request indices that the table was built from",
    )
