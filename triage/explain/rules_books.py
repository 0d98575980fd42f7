"""Rules about what moved: pages, rows, mapping, state. The trap's own evidence is the witness.

These faults have no launch; the ledger and the state checks say which page, row or
attribute, and what happened to it before. One class per kind of contradiction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from triage.dump.sections import Dump
from triage.evidence import Evidence
from triage.explain.cause import Cause, Confidence
from triage.explain.rules_fault import freed_by_strangers
from triage.invariants.ledger import ALIASED, USED_AFTER_FREE

_SGLANG = "https://github.com/sgl-project/sglang"


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of defect and the evidence that only it leaves."""

    invariant: str
    says: Callable[[Evidence], bool]
    key: str
    name: str
    refuted_by: str
    fix: str
    links: tuple[str, ...] = ()


def summary(*words: str) -> Callable[[Evidence], bool]:
    return lambda fault: all(word in fault.summary for word in words)


def finding(what: str) -> Callable[[Evidence], bool]:
    """By the ledger's own fact, not its wording."""
    return lambda fault: fault.facts.get("finding") == what


def shown(word: str) -> Callable[[Evidence], bool]:
    """By the tensor of the first offender."""
    return lambda fault: bool(fault.violations) and word in fault.violations[0].tensor


def always(fault: Evidence) -> bool:
    return True


_KINDS = (
    Kind(
        "I7",
        summary("allocation failed"),
        "failed-alloc-leak",
        "an allocation that failed kept pages",
        "free counts of both pools that a failed call leaves alone",
        "give back what the other side took before returning None",
    ),
    Kind(
        "I7",
        summary("was released with"),
        "leak",
        "a request was released and its pages were not (leak)",
        "a radix tree or a transfer that holds those pages",
        "free the request's row up to what was allocated, not to what was committed",
        (f"{_SGLANG}/pull/12224",),
    ),
    Kind(
        "I6",
        summary("left SWA slots mapped"),
        "stale-mapping",
        "the mapping outlives the page it belongs to",
        "a mapping that is 0 on the whole page after the call",
        "clear the mapping by page, as the pages are freed",
        (f"{_SGLANG}/pull/27779",),
    ),
    Kind(
        "I6",
        shown("a page that was not freed"),
        "stale-mapping",
        "the mapping lost a page that is still held",
        "an SWA page that was freed by the same call",
        "clear the mapping of the pages that are freed, and of no other",
        (f"{_SGLANG}/pull/27779",),
    ),
    Kind(
        "I6",
        summary("the group kept a view"),
        "free-group-view",
        "a free group kept a view of the request table, which was rewritten before it ended",
        "an allocator that copies what it defers",
        "clone the slots when a free is deferred",
    ),
    Kind(
        "I6",
        summary("legal are"),
        "dummy-page-freed",
        "a page that is nobody's was freed, the dummy page among them",
        "slots that are all inside the pool",
        "drop the slots without an SWA peer before they are freed",
        (f"{_SGLANG}/pull/38519",),
    ),
    Kind(
        "I6",
        summary("was freed, but it"),
        "double-free",
        "a page was freed twice",
        "an allocation of the page between the two frees",
        "find the second caller: the evidence names the call that freed it first",
        (f"{_SGLANG}/pull/18694",),
    ),
    Kind(
        "I17",
        finding(USED_AFTER_FREE),
        "freed-page",
        "a page is used by a request after it was freed (use after free)",
        "an allocation of the page after that free",
        "find who freed it while a row still named it: the evidence names the call",
    ),
    Kind(
        "I5",
        finding(ALIASED),
        "page-owned-twice",
        "one page is in the rows of two requests, or twice in one",
        "a prefix that both took from a tree, at the same position",
        "compare the rows with what each allocation returned",
    ),
    Kind(
        "I5",
        summary("listed as free, but it is held"),
        "page-owned-twice",
        "a page is free and held at once: the next request gets it too",
        "a free of the page that the ledger did not hear of",
        "find what put the page back, or never took it off the free list",
    ),
    Kind(
        "I5",
        summary("handed out, but it is held"),
        "page-owned-twice",
        "a page was handed out while somebody held it",
        "a free of the page that the ledger did not hear of",
        "find what put the page back, or never took it off the free list",
    ),
    Kind(
        "I5",
        summary("share no prefix"),
        "page-owned-twice",
        "two requests that share no prefix hold one page",
        "a prefix that both took from a tree the ledger does not know",
        "compare what the tree matched with what was written into both rows",
    ),
    Kind(
        "I5",
        summary("not in the free list"),
        "leak",
        "a page was freed and never came back to the free list",
        "a staging list that the audit does not read",
        "look at what the free group held when it ended",
    ),
    Kind(
        "I4",
        always,
        "stale-mapping",
        "the mapping and the pools disagree about a page",
        "a mapping that was written after the audit began",
        "find what changed one without the other: a deferred free, a recovery, a load-back",
        (f"{_SGLANG}/issues/36081", f"{_SGLANG}/pull/25385"),
    ),
    Kind(
        "I9",
        always,
        "stale-translation",
        "a translation is not what the mapping says now (cached?)",
        "a mapping rewritten between the call and the check",
        "drop whatever remembers translated slots when the mapping changes",
        (f"{_SGLANG}/pull/25889",),
    ),
    Kind(
        "I17",
        summary("released by"),
        "double-release",
        "a request's row was released twice, or while it is used",
        "a new owner of the row between the two releases",
        "release in one place: finish, retract and abort may meet there",
        (f"{_SGLANG}/pull/18694",),
    ),
    Kind(
        "I3",
        lambda fault: not (fault.violations and fault.violations[0].expected == 0),
        "foreign-write",
        "a token is written to a slot that is not its own",
        "a request index of 0 for that token: padding may write the dummy page",
        "compare the write slots with the mapping at the moment they were translated",
    ),
    Kind(
        "I23",
        always,
        "state-not-restored",
        "speculative state is not what it was before the step",
        "the same object in place after the step",
        "put back in a finally clause what the step swapped",
    ),
    Kind(
        "I19",
        always,
        "draft-pool-too-small",
        "a draft's pool has fewer rows than its allocator hands out",
        "an allocator of the draft's own",
        "size the draft's pool by the allocator that it shares",
        (f"{_SGLANG}/issues/25103",),
    ),
    Kind(
        "I27",
        always,
        "dirty-workspace",
        "split-K counters are not zero between launches",
        "a FlashInfer release that keeps its counters elsewhere",
        "give each stream a workspace of its own, zeroed once",
        ("https://github.com/flashinfer-ai/flashinfer/issues/3864",),
    ),
)


def moved_wrongly(dump: Dump) -> Cause | None:
    """The class of a fault that the ledger or a state check reported."""
    return named(dump, _KINDS)


def named(dump: Dump, kinds: tuple[Kind, ...]) -> Cause | None:
    """The first of `kinds` that the recorded fault is, as a cause."""
    fault = dump.fault
    for kind in kinds:
        if fault.invariant == kind.invariant and kind.says(fault):
            lines = fault.headline().splitlines()
            return Cause(
                key=kind.key,
                name=kind.name,
                confidence=Confidence.MEDIUM if freed_by_strangers(fault) else Confidence.HIGH,
                evidence=tuple(line.strip() for line in lines),
                refuted_by=(kind.refuted_by,),
                fix=kind.fix,
                links=kind.links,
            )
    return None
