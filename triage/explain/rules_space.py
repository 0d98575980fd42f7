"""Rules about ids that are right in another index space: pool, unit or number of divisions."""

from __future__ import annotations

import numpy as np

from triage.dump.expected_ids import UNKNOWN
from triage.explain.case import LaunchCase, Match
from triage.explain.cause import Cause, Confidence

_SGLANG = "https://github.com/sgl-project/sglang"
MANY = 4  # entries that agree and differ from the right ones: fewer may do so by chance


def stale_swa_state(case: LaunchCase) -> Cause | None:
    """A draft swapped to the target's pool still holds the SWA state of its own.

    Source: sgl-project/sglang#26957.
    """
    match = _full_ids_in_swa(case)
    backend, absent = case.backend, case.swa_state_absent()
    if match is None or absent is False:
        return None
    assert case.ids is not None
    drafting = backend is not None and backend.role == "draft"
    state_known = _state_recorded(case)
    if absent is None and state_known and not drafting:
        return None
    evidence = [
        _agreement_text(case, match, "the full-pool page of its token, R[req, p*PS] // PS"),
        _state_text(case),
    ]
    if backend is not None and backend.pool_class != backend.init_pool_class:
        evidence.append(
            f"the backend was built over a {backend.init_pool_class or 'pool not recorded'} "
            f"and reads a {backend.pool_class}"
        )
    if drafting:
        evidence.append("the launch is a draft worker's, which borrows the target's pool")
    return Cause(
        key="stale-swa-state",
        name="SWA state not swapped with the pool",
        confidence=Confidence.HIGH if drafting and absent else Confidence.MEDIUM,
        evidence=tuple(evidence),
        rows=case.cite(_shown(case, case.ids.full)),
        refuted_by=(
            "a backend whose SWA pool is the very object that the launch reads",
            "visible ids that are the mapping's, not the request table's",
        ),
        fix="SGLANG_TRIAGE_FIXES=state-swap",
        links=(f"{_SGLANG}/issues/26957", f"{_SGLANG}/pull/26966"),
        not_recorded=_right_ids_recorded(case),
        missing=() if state_known else (_STATE,),
    )


def full_ids_for_another_reason(case: LaunchCase) -> Cause | None:
    """Full-pool ids reach an SWA layer although the backend's SWA state is right, or not known."""
    match = _full_ids_in_swa(case)
    if match is None or case.swa_state_absent() is True:
        return None
    assert case.ids is not None
    return Cause(
        key="full-ids-in-swa-layer",
        name="full-pool ids in an SWA layer, not through the backend's SWA state",
        confidence=Confidence.MEDIUM,
        evidence=(
            _agreement_text(case, match, "the full-pool page of its token, R[req, p*PS] // PS"),
            _state_text(case),
        ),
        rows=case.cite(_shown(case, case.ids.full)),
        refuted_by=("a table chosen per layer that is the SWA one for this layer",),
        fix="find where this layer's table is chosen or filled: _get_layer_page_table, the "
        "graph-replay table copy",
        links=(f"{_SGLANG}/issues/24617",),
        not_recorded=_right_ids_recorded(case),
        missing=() if _state_recorded(case) else (_STATE,),
    )


def own_pool_draft_translated(case: LaunchCase) -> Cause | None:
    """A draft that owns its pool got ids of the target's mapping.

    Source: sgl-project/sglang#25103, sgl-project/sglang#27491.
    """
    if case.ids is None or case.ids.swa is None or case.pools is None:
        return None
    drafting = case.backend is not None and case.backend.role == "draft"
    shares = any(pool.name == "swa" for pool in case.pools.pools)
    if not case.pools.read.startswith("draft") and not (drafting and not shares):
        return None
    match = case.match(case.ids.swa)
    if not match.holds:
        return None
    return Cause(
        key="own-pool-draft-translated",
        name="draft with its own pool, ids translated through the target's mapping",
        confidence=Confidence.HIGH,
        evidence=(
            _agreement_text(case, match, "the target's SWA page of its token"),
            "the launch reads a pool of the draft's own, which the mapping does not describe",
            _state_text(case),
        ),
        rows=case.cite(case.wrong() & (case.table == case.ids.swa)),
        refuted_by=("a draft that shares the target's KV pool",),
        fix="SGLANG_TRIAGE_FIXES=draft-own-pool",
        links=(f"{_SGLANG}/issues/25103", f"{_SGLANG}/pull/27491"),
    )


def slots_as_pages(case: LaunchCase) -> Cause | None:
    """Token slots were passed where page ids belong: the division by the page size is missing."""
    if case.ids is None or case.launch.page_size == 1:
        return None
    for space, slots in _slots(case).items():
        match = case.match(slots)
        if match.holds:
            return Cause(
                key="slots-as-pages",
                name="token slots used as page ids",
                confidence=Confidence.HIGH if match.telling >= MANY else Confidence.MEDIUM,
                evidence=(
                    _agreement_text(case, match, f"the {space} slot of its token, not divided"),
                    f"every visible id is a multiple of the page size {case.launch.page_size}",
                ),
                rows=case.cite(case.wrong() & (case.table == slots)),
                refuted_by=("a page size of 1, where slots and pages are the same",),
                fix="divide once by the page size where the table is built",
                links=(f"{_SGLANG}/issues/38187",),
            )
    return None


def slots_by_their_values(case: LaunchCase) -> Cause | None:
    """The same without the request table: ids past the cache, each a multiple of the page size.

    A page's first slot is such a multiple; of ids that are not slots one in `page_size` is.
    """
    size = case.launch.page_size
    outside = case.outside()
    if case.ids is not None or case.misread or size < MANY or not outside.any():
        return None
    values = case.table[case.seen & (case.table != 0)]
    if len(np.unique(values)) < MANY or (values < 0).any() or (values % size).any():
        return None
    return Cause(
        key="slots-as-pages",
        name="token slots used as page ids",
        confidence=Confidence.MEDIUM,
        evidence=(
            f"{len(values)} of {len(values)} visible ids are multiples of the page size {size}, as "
            f"the first slots of pages are; {int(outside.sum())} of them are beyond the "
            f"{case.launch.num_pages} pages of the cache",
        ),
        rows=case.cite(outside),
        refuted_by=("a request table whose slots are not these",),
        fix="divide once by the page size where the table is built",
        links=(f"{_SGLANG}/issues/38187",),
        not_recorded=("the request table",),
    )


def divided_twice(case: LaunchCase) -> Cause | None:
    """The page ids were divided by the page size once more."""
    if case.ids is None or case.launch.page_size == 1:
        return None
    for space, slots in _slots(case).items():
        twice = np.where(slots == UNKNOWN, UNKNOWN, slots // case.launch.page_size**2)
        match = case.match(twice)
        if not match.holds:
            continue
        # Ids this small are easily the same by chance: some must differ from each other.
        # If all are 0 a row of nobody's fits as well, and both are named (`rules_rows`).
        spread = len(np.unique(twice[case.seen])) > 1
        if spread or match.telling > 1:
            return Cause(
                key="divided-twice",
                name="page ids divided by the page size twice"
                + (
                    "" if spread or not case.reads_swa else ", or looked up in the mapping as slots"
                ),
                confidence=(
                    Confidence.HIGH if spread and match.telling >= MANY else Confidence.MEDIUM
                ),
                evidence=(
                    _agreement_text(case, match, f"the {space} page of its token // page size"),
                ),
                rows=case.cite(case.wrong() & (case.table == twice)),
                refuted_by=("a table builder that divides only once",),
                fix="divide once by the page size where the table is built",
                links=(f"{_SGLANG}/issues/38187",),
            )
    return None


_STATE = "the backend's SWA state"


def _state_recorded(case: LaunchCase) -> bool:
    if case.backend is not None and case.backend.swa_state:
        return True
    return case.pools is not None and bool(case.pools.table_space)


def _right_ids_recorded(case: LaunchCase) -> tuple[str, ...]:
    """The mapping, where the dump lacks it: that full-pool ids are wrong there is then by range."""
    known = case.ids is not None and case.ids.swa is not None
    return () if known else ("the full-to-SWA mapping",)


def _full_ids_in_swa(case: LaunchCase) -> Match | None:
    """Agreement with full-pool ids if an SWA layer got them, else None."""
    if not case.reads_swa or case.ids is None or case.misread:
        return None
    match = case.match(case.ids.full)
    if not match.holds:
        return None
    # Without a mapping every agreement could also be a pool whose spaces coincide.
    if case.ids.swa is None and not case.outside().any():
        return None
    return match


def _shown(case: LaunchCase, hypothesis: np.ndarray) -> np.ndarray:
    """The visible entries that agree with `hypothesis`; only wrong ones, where that is known."""
    agreeing = case.seen & (case.table == hypothesis)
    wrong = agreeing & case.wrong()
    return wrong if wrong.any() else agreeing


def _slots(case: LaunchCase) -> dict[str, np.ndarray]:
    """Slots of the page starts by index space, the launch's own space first."""
    assert case.ids is not None
    spaces = {"full-pool": case.ids.slots}
    if case.ids.swa_slots is not None:
        spaces["SWA"] = case.ids.swa_slots
    return dict(sorted(spaces.items(), key=lambda item: (item[0] == "SWA") != case.reads_swa))


def _agreement_text(case: LaunchCase, match: Match, what: str) -> str:
    text = (
        f"{match.agreeing} of {match.telling} visible entries are {what}, "
        "counted where that is not the right id"
    )
    outside = int(case.outside().sum())
    if outside:
        text += f"; {outside} of them are beyond the {case.launch.num_pages} pages of the cache"
    return text


def _state_text(case: LaunchCase) -> str:
    if case.backend is not None and case.backend.swa_state:
        state = ", ".join(f"{key} = {value}" for key, value in case.backend.swa_state.items())
        return f"the backend's SWA state: {state}"
    if case.pools is None or not case.pools.table_space:
        return "the dump does not say what SWA state the backend had"
    return f"the backend takes its table for one of the {case.pools.table_space!r} space"
