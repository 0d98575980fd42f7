"""Rules that go by what the trap recorded, for faults that no page table shows."""

from __future__ import annotations

from triage.explain.cause import Cause, Citation, Confidence
from triage.record import Dump


def illegal_allocation(dump: Dump) -> Cause | None:
    """The allocator handed out a slot that its pool does not have (I20)."""
    fault = dump.fault
    if fault.invariant != "I20":
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


def _citations(dump: Dump, invariant: str) -> tuple[Citation, ...]:
    return tuple(
        Citation(each.row, each.column, each.value, each.expected)
        for each in dump.fault.violations
        if each.invariant == invariant
    )[:5]
