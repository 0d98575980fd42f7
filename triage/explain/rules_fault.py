"""Rules that go by what the trap recorded, for faults that no page table shows."""

from __future__ import annotations

from triage.dump.sections import Dump
from triage.evidence import Evidence
from triage.explain.cause import Cause, Citation, Confidence


def illegal_allocation(dump: Dump) -> Cause | None:
    """The allocator handed out a slot that its pool does not have (I20)."""
    fault = dump.fault
    if fault.invariant != "I20" or _of(dump, "last_loc") or _of(dump, "req_to_token"):
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
        rows=_citations(dump, "I20"),
        refuted_by=("a bound that forgets the dummy page: legal slots end at size + page size",),
        fix="compare the free list with the allocated slots; look at the last call that freed",
    )


def goes_on_elsewhere(dump: Dump) -> Cause | None:
    """A request's new tokens follow a slot that rows of other requests name (I20)."""
    fault = dump.fault
    others = fault.facts.get("rows_with_that_page")
    if fault.invariant != "I20" or not isinstance(others, list) or not others:
        return None
    rows = ", ".join(map(str, others))
    return Cause(
        key="page-owned-twice",
        name="a request goes on in a page of another (last_loc of the wrong row)",
        confidence=Confidence.HIGH if _of(dump, "last_loc") else Confidence.MEDIUM,
        evidence=(
            f"{fault.summary}: {fault.violations[0].sentence()}",
            f"rows {rows} of the request table name the page of that slot",
        ),
        rows=_citations(dump, "I20"),
        refuted_by=("a row of this very request among those, with the slot at its last token",),
        fix="take last_loc from the row of the request that grows, in the order of the lengths",
    )


def misread_lengths(dump: Dump) -> Cause | None:
    """cache_seqlens has a type, stride or device that the kernel misreads (I26)."""
    fault = dump.fault
    if fault.invariant != "I26" or fault.facts.get("misread") != "cache_seqlens":
        return None
    return Cause(
        key="misread-table",
        name="lengths of a type or stride that the kernel misreads",
        confidence=Confidence.HIGH,
        evidence=(fault.summary,),
        refuted_by=("contiguous int32 lengths at the launch",),
        fix="pass cache_seqlens.to(torch.int32).contiguous()",
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
        rows=_citations(dump, "I6"),
        refuted_by=("a caller that frees pages of several requests in one call",),
        fix="compare the rows of both requests where they first name the page",
    )


def freed_by_strangers(fault: Evidence) -> bool:
    """Does an alias explain the second free as well as a second call would?"""
    before = fault.facts.get("freed before as pages of")
    now = fault.facts.get("freed now with pages of")
    if not isinstance(before, list) or not isinstance(now, list):
        return False
    known = [{owner for owner in owners if owner >= 0} for owners in (before, now)]
    return bool(known[0] and known[1]) and not known[0] & known[1]


def lengths_disagree(dump: Dump) -> Cause | None:
    """cache_seqlens is not what the forward mode makes it (I12)."""
    fault = dump.fault
    if fault.invariant != "I12":
        return None
    return Cause(
        key="lengths-disagree",
        name="sequence lengths of another convention (draft or verify tokens counted wrongly)",
        confidence=Confidence.MEDIUM,
        evidence=(
            fault.summary,
            *(each.sentence() for each in fault.violations[:3]),
        ),
        rows=_citations(dump, "I12"),
        refuted_by=("lengths that agree with the batch at the moment the metadata is built",),
        fix="check which tokens this mode's metadata adds to seq_lens",
    )


def _of(dump: Dump, tensor: str) -> bool:
    """Is the first offender an entry of what is named `tensor`?"""
    seen = dump.fault.violations
    return bool(seen) and tensor in seen[0].tensor


def _citations(dump: Dump, invariant: str) -> tuple[Citation, ...]:
    return tuple(
        Citation(each.row, each.column, each.value, each.expected)
        for each in dump.fault.violations
        if each.invariant == invariant
    )[:5]
