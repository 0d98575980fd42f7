"""Rules that go by what the trap recorded, for faults that no page table shows."""

from __future__ import annotations

from triage.dump.sections import Dump
from triage.explain.cause import Cause, Confidence
from triage.explain.rules_found import (
    UNLOOKED,
    citations,
    found_by_the_device,
    freed_by_strangers,
    padding_may_write,
)
from triage.invariants.found import Found

_ALLOCATED = (Found.SLOT_OUTSIDE_POOL, Found.HANDED_OUT_ILLEGAL)
_LAST_LOC = (Found.LAST_LOC_PLACE, Found.LAST_LOC_NOT_IN_ROWS)
_PLACES = (Found.LAST_LOC_PLACE, Found.LAST_LOC_EARLIER)
_ROWS = (Found.ROW_LEAVES_ITS_PAGE, Found.ROW_NOT_AS_WRITTEN)
_LENGTHS: dict[str, str] = {
    Found.LENGTH_NOT_THE_BATCHES: "lengths of another convention (draft or verify tokens counted "
    "wrongly), or of another batch",
    Found.ILLEGAL_LENGTH: "a length that no row can have",
    Found.ILLEGAL_QUERIES: "more queries than the row has tokens, or than the kernel is told",
    Found.ILLEGAL_OFFSETS: "query offsets that do not cut the query tensor",
    Found.SLOTS_OF_ANOTHER_LENGTH: "a slot stream of another length than the row",
}


def illegal_allocation(dump: Dump) -> Cause | None:
    """The allocator handed out a slot that its pool does not have (I20)."""
    fault = dump.fault
    if fault.found not in _ALLOCATED:
        return None
    dummy = [each for each in fault.violations if 0 <= each.value < each.low]
    evidence = [f"{fault.where} returned {fault.total} slots outside the {fault.pool} pool"]
    evidence += [each.sentence() for each in fault.violations[:3]]
    if dummy:
        evidence.append(
            "a slot below the first legal one is the dummy page: the token has no page of its own"
        )
    return Cause(
        key="illegal-allocation",
        name="allocator returned slots outside its pool",
        confidence=Confidence.MEDIUM,
        evidence=tuple(evidence),
        rows=citations(fault),
        refuted_by=("a bound that forgets the dummy page: legal slots end at size + page size",),
        fix="compare the free list with the allocated slots; look at the last call that freed",
    )


SHOWN_ROWS = 8


def _listed(rows: list[object]) -> str:
    """The first, and how many more: the dump has all of them."""
    text = ", ".join(map(str, rows[:SHOWN_ROWS]))
    more = len(rows) - SHOWN_ROWS
    return f"{text} and {more} more" if more > 0 else text


def goes_on_elsewhere(dump: Dump) -> Cause | None:
    """A request's new tokens follow a slot that a row of another request names (I20).

    The allocator is told no request, so the rows that name the page may be the request's
    own: `last_loc` of an earlier position fits as well (`goes_on_too_early`). Of a row that
    is known, its own is not among them.
    """
    fault = dump.fault
    others = fault.facts.get("rows_with_that_page")
    if fault.found not in (*_LAST_LOC, *_ROWS) or not isinstance(others, list) or not others:
        return None
    rows = _listed(others)
    whose = "" if fault.found in _ROWS else "; the allocator is not told which of them it serves"
    return Cause(
        key="page-owned-twice",
        name="a request goes on in a page of another (last_loc of the wrong row)",
        confidence=Confidence.MEDIUM,
        evidence=(
            f"{fault.summary}: {fault.violations[0].sentence()}",
            f"rows {rows} of the request table name the page of that slot{whose}",
        ),
        rows=citations(fault),
        refuted_by=("a row of this very request among those",),
        fix="take last_loc from the row of the request that grows, in the order of the lengths",
    )


def goes_on_too_early(dump: Dump) -> Cause | None:
    """A request's new tokens follow another position of its own row (I20)."""
    fault = dump.fault
    if fault.found not in (*_LAST_LOC, Found.LAST_LOC_EARLIER) or not fault.violations:
        return None
    first = fault.violations[0]
    evidence = [f"{fault.summary}: {first.sentence()}"]
    if fault.found in _PLACES and first.expected is not None and first.low > 0:
        place, due = first.value % first.low, first.expected % first.low
        evidence.append(f"slot {first.value} is at place {place} of its page, place {due} was due")
    if fault.found == Found.LAST_LOC_EARLIER:
        evidence.append(f"a row has slot {first.expected} at the request's last position")
    others = fault.facts.get("rows_with_that_page")
    if isinstance(others, list):
        named = f"rows {_listed(others)} name" if others else "no row names"
        evidence.append(f"{named} the page of that slot")
    return Cause(
        key="wrong-last-loc",
        name="last_loc is another position of the request's own row",
        confidence=Confidence.MEDIUM,
        evidence=tuple(evidence),
        rows=citations(fault),
        refuted_by=("a slot that the request's own row does not name at any position",),
        fix="take last_loc at position length - 1 of the row, after the row was written",
    )


def row_written_wrongly(dump: Dump) -> Cause | None:
    """A row of the request table does not hold what was written, or leaves its page (I20)."""
    fault = dump.fault
    if fault.found not in _ROWS or fault.facts.get("rows_with_that_page"):
        return None
    return Cause(
        key="row-written-wrongly",
        name="a row of the request table was written at the wrong position, or over",
        confidence=Confidence.MEDIUM,
        evidence=(fault.summary, *(each.sentence() for each in fault.violations[:3])),
        rows=citations(fault),
        refuted_by=("another writer of the row between the store and the check",),
        fix="compare the positions that were written with the slots the allocation returned",
    )


_MISREAD = {
    "cache_seqlens": ("lengths", "pass cache_seqlens.to(torch.int32).contiguous()"),
    "block_tables": ("table", "pass table.to(torch.int32).contiguous()"),
}


def misread_form(dump: Dump) -> Cause | None:
    """cache_seqlens or the table has a type, stride or device that the kernel misreads (I26).

    In modes `log` and `contain` the finding stands alone, without its launch.
    """
    fault = dump.fault
    misread = _MISREAD.get(str(fault.facts.get("misread")))
    if fault.found != Found.FORM_NOT_READ or misread is None:
        return None
    what, fix = misread
    return Cause(
        key="misread-table",
        name=f"{what} of a type or stride that the kernel misreads",
        confidence=Confidence.HIGH,
        evidence=(fault.summary,),
        refuted_by=(f"a contiguous int32 {what} at the launch",),
        fix=fix,
    )


_LEADS_TO_WRITES = {
    Found.WRITE_OUTSIDE_POOL: (
        "illegal-allocation",
        "the allocator handed out a slot outside its pool, or behind a wrong last_loc",
        "the allocator's answer inside its pool: SGLANG_TRTLLM_MHA_DEBUG_MODE=raise looks at it",
        "compare the free list with the allocated slots; look at the last call that freed",
    ),
    Found.WRITE_NOT_MAPPED_SLOT: (
        "stale-translation",
        "a translation is not what the mapping says now (cached?)",
        "slots that were translated in this very forward",
        "drop whatever remembers translated slots when the mapping changes",
    ),
}


def leads_to_a_foreign_write(dump: Dump) -> Cause | None:
    """What came before a wrong write, where nothing looked at that (I3 of the device checker).

    Mode `raise` looks at the allocator's answer and at translations first, so there a write
    that is wrong is a class of its own.
    """
    fault = dump.fault
    found = _LEADS_TO_WRITES.get(fault.found)  # type: ignore[call-overload]
    if found is None or not found_by_the_device(fault) or padding_may_write(fault):
        return None
    key, name, refuted, fix = found
    return Cause(
        key=key,
        name=name,
        confidence=Confidence.MEDIUM,
        evidence=tuple(line.strip() for line in fault.headline().splitlines()),
        rows=citations(fault),
        refuted_by=(refuted,),
        fix=fix,
        not_recorded=(UNLOOKED,),
    )


def freed_by_two(dump: Dump) -> Cause | None:
    """A page went back with pages of one request after it had gone back as another's (I6)."""
    fault = dump.fault
    if not freed_by_strangers(fault):
        return None
    before, now = (fault.facts[f"freed {when} pages of"] for when in ("before as", "now with"))
    return Cause(
        key="page-owned-twice",
        name="one page in the rows of two requests: each gave it back",
        confidence=Confidence.MEDIUM,
        evidence=(
            fault.summary,
            f"it was freed as a page of request {before}, now it came with pages of {now}",
        ),
        rows=citations(fault),
        refuted_by=("a caller that frees pages of several requests in one call",),
        fix="compare the rows of both requests where they first name the page",
    )


def lengths_disagree(dump: Dump) -> Cause | None:
    """Lengths or query offsets are not what the forward mode makes them (I12)."""
    fault = dump.fault
    name = _LENGTHS.get(fault.found)
    if name is None:
        return None
    return Cause(
        key="lengths-disagree",
        name=name,
        confidence=Confidence.MEDIUM,
        evidence=(
            fault.summary,
            *(each.sentence() for each in fault.violations[:3]),
        ),
        rows=citations(fault),
        refuted_by=("lengths that agree with the batch at the moment the metadata is built",),
        fix="check which tokens this mode's metadata adds to seq_lens",
    )


def exchanged_slots(dump: Dump) -> Cause | None:
    """Two offenders of packed slots, each with the slot that is the other's right one (I2).

    Where the device found them there is no table beside them: the two are all that was wrong.
    """
    fault = dump.fault
    pair = fault.violations
    alone = dump.launch is None and fault.total == 2 == len(pair)
    if not alone or any(each.kind != Found.WRONG_SLOT for each in pair):
        return None
    one, other = pair
    if one.row == other.row or (one.value, one.expected) != (other.expected, other.value):
        return None
    return Cause(
        key="exchanged-pages",
        name="two requests read each other's page (entries exchanged)",
        confidence=Confidence.MEDIUM,
        evidence=(
            f"rows {one.row} and {other.row} are wrong in one slot each, which is the other's "
            "right slot there; nothing else was wrong",
            *(each.sentence() for each in pair),
        ),
        rows=citations(fault),
        refuted_by=("a slot that both requests hold",),
        fix="find what writes single slots after SGLang packed them",
        not_recorded=("the other slots of the rows",),
    )
