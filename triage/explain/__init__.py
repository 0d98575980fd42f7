"""From a dump to a named cause, or to "unknown".

Every rule looks at the same `LaunchCase` and answers with a `Cause` or None. A rule
names its class with high confidence only on evidence that no other known class
produces; causes of equal standing are all named, and the reader is told what
would refute each. To add a class, write one function in a `rules_*` module and
list it in `RULES`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from triage.dump.history import CRASH, launch_summaries, since
from triage.dump.request_ids import ids_of, sentences
from triage.dump.sections import Dump
from triage.evidence import PageHistory
from triage.explain.case import LaunchCase
from triage.explain.cause import Cause, Citation, Confidence
from triage.explain.observed import Related, Relation, related
from triage.explain.rules_allocation import (
    evicted_at_the_edge,
    freed_page,
    mapping_lost,
    mapping_shares_a_page,
    page_owned_twice,
)
from triage.explain.rules_fault import (
    exchanged_slots,
    freed_by_two,
    goes_on_elsewhere,
    goes_on_too_early,
    illegal_allocation,
    leads_to_a_foreign_write,
    lengths_disagree,
    misread_form,
    row_written_wrongly,
)
from triage.explain.rules_form import lengths_past_the_maximum, misread_table, narrow_table
from triage.explain.rules_found import found_by_a_check
from triage.explain.rules_history import stale_state_on_record
from triage.explain.rules_kernel import known_kernel_defect, wrong_output
from triage.explain.rules_rows import (
    divided_to_nothing,
    other_requests_row,
    padded_row,
    unwritten_slots,
)
from triage.explain.rules_space import (
    divided_twice,
    full_ids_for_another_reason,
    own_pool_draft_translated,
    slots_as_pages,
    slots_by_their_values,
    stale_swa_state,
)
from triage.explain.weighing import weigh

RULES = (
    misread_table,
    narrow_table,
    lengths_past_the_maximum,
    stale_swa_state,
    full_ids_for_another_reason,
    own_pool_draft_translated,
    slots_as_pages,
    slots_by_their_values,
    divided_twice,
    freed_page,
    evicted_at_the_edge,
    mapping_lost,
    page_owned_twice,
    mapping_shares_a_page,
    padded_row,
    other_requests_row,
    divided_to_nothing,
    unwritten_slots,
    known_kernel_defect,
)

FAULT_RULES = (
    exchanged_slots,
    illegal_allocation,
    goes_on_elsewhere,
    goes_on_too_early,
    row_written_wrongly,
    lengths_disagree,
    misread_form,
    leads_to_a_foreign_write,
    freed_by_two,
    found_by_a_check,
    wrong_output,
    stale_state_on_record,
)
"""Rules that go by the recorded fault and the history alone: the launch may be absent."""

_SHOWN_BY_THE_TABLE = ("", "I1", "I2")
"""If the tables of the dump show none of these, none is there; of others they need not tell."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The causes that fit, best first.

    `named` are those that nothing else outranks and whose class lacks no fact that it needs.
    observed: what is wrong, whether or not a cause was found.
    beside: causes that this launch shows, though the fault that is reported leads elsewhere.
    related: what other tools saw, set beside the launch.
    requests: row of `req_to_token` -> id of the request that held it, of all rows recorded.
    pages: whose hand was on the pages that the fault names; empty if it is not recorded.
    """

    causes: tuple[Cause, ...]
    observed: tuple[str, ...]
    beside: tuple[Cause, ...] = ()
    related: tuple[Related, ...] = ()
    requests: dict[int, str] = field(default_factory=dict)
    pages: tuple[PageHistory, ...] = ()

    @property
    def named(self) -> tuple[Cause, ...]:
        whole = [cause for cause in self.causes if not cause.missing]
        best = max((cause.confidence for cause in whole), default=Confidence.LOW)
        return tuple(cause for cause in whole if cause.confidence == best)

    @property
    def possible(self) -> tuple[Cause, ...]:
        """Causes that fit and are not named: outranked, or a fact that they need is absent."""
        return tuple(cause for cause in self.causes if cause not in self.named)

    @property
    def status(self) -> str:
        """`named`, `ambiguous` (several fit equally), `unknown`, or `clean`: nothing is wrong."""
        if not self.causes and not self.observed:
            return "clean"
        return {0: "unknown", 1: "named"}.get(len(self.named), "ambiguous")

    def as_dict(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "causes": [cause.as_dict() for cause in self.causes],
            "named": [cause.key for cause in self.named],
            "observed": list(self.observed),
            "beside": [cause.as_dict() for cause in self.beside],
            "observations": [each.as_dict() for each in self.related],
            "requests": [{"request": row, "request_id": rid} for row, rid in self.requests.items()],
            "pages": [asdict(each) for each in self.pages],
        }


def explain(dump: Dump) -> Explanation:
    """Run every rule over `dump`, and weigh what they say against what other tools saw."""
    case = LaunchCase.of(dump)
    answers = [rule(dump) for rule in FAULT_RULES]
    if case is not None:
        answers += [rule(case) for rule in RULES]
    found = _one_of_each([_completed(cause, dump) for cause in answers if cause is not None])
    seen = related(dump)
    causes, beside = weigh(tuple(found), seen, of_another_launch=bool(_absent(dump)))
    observed = (*_reported(seen), *_observed(dump, case))
    return Explanation(causes, observed, beside, seen, ids_of(dump), dump.fault.pages)


def _completed(cause: Cause, dump: Dump) -> Cause:
    """With the request of each row, and how many rows there were where a fault kept the first."""
    tables, fault = dump.tables, dump.fault
    held = None if tables is None else tables.req_pool_indices
    ids = ids_of(dump)

    def with_request(each: Citation) -> Citation:
        row = each.request
        if row is None and each.of_table and held is not None:
            row = int(held[each.row])
        known = each.request_id or ("" if row is None else ids.get(row, ""))
        return each._replace(request=row, request_id=known)

    total = cause.rows_total
    if cause.rows and not cause.rows[0].of_table:
        counts = fault.facts.get("counts")
        counted = counts.get(fault.invariant) if isinstance(counts, dict) else fault.total
        total = counted if isinstance(counted, int) else fault.total
    return replace(
        cause,
        evidence=(*cause.evidence, *sentences(dump)),
        rows=tuple(map(with_request, cause.rows)),
        rows_total=total,
    )


def _observed(dump: Dump, case: LaunchCase | None) -> tuple[str, ...]:
    """What is wrong by the dump itself."""
    context = tuple(filter(None, (since(dump), _absent(dump))))
    unread = _not_recorded(dump)
    if case is None:
        fault = dump.fault
        named = (f"{fault.invariant}: {fault.summary}",) if fault.invariant else ()
        context = (*sentences(dump), *context)
        return (*named, "the dump holds no launch with its tables", *context, *unread)
    seen = case.observed()
    if not seen and dump.fault.invariant not in _SHOWN_BY_THE_TABLE:
        seen = (f"{dump.fault.invariant}: {dump.fault.summary}",)
    elif not seen and dump.fault.facts.get("kind") == CRASH:
        seen = (f"a crash: {dump.fault.summary}; the launch that is shown reads no wrong page",)
    elif not seen and any(moment.fresh for moment in launch_summaries(dump.history)):
        seen = ("a check found something wrong; the launch that is shown reads no wrong page",)
    return (*seen, *((*context, *unread) if seen or _absent(dump) else ()))


def _reported(seen: tuple[Related, ...]) -> tuple[str, ...]:
    """What other tools reported, one sentence each."""
    return tuple(
        "; ".join((f"{each.observation.form.value}: {each.observation.failure.value}",
                   *each.sentences))
        for each in seen
        if each.relation is not Relation.NOT_A_FAULT or each.sentences
    )  # fmt: skip


def _absent(dump: Dump) -> str:
    """Why the launch that is recorded is not the one that faulted; empty where nothing says so."""
    text = dump.fault.facts.get("absent")
    return text if isinstance(text, str) else ""


def _not_recorded(dump: Dump) -> tuple[str, ...]:
    """A fault of an older writer says what was found in a sentence only, which no rule reads."""
    if dump.fault.found or dump.fault.invariant in _SHOWN_BY_THE_TABLE:
        return ()
    return ("what was found is not recorded as a value: an older writer made this dump",)


def _one_of_each(causes: list[Cause]) -> list[Cause]:
    """Best first; a class that two rules name stands once, as the more certain of them."""
    best: dict[str, Cause] = {}
    for cause in sorted(causes, key=lambda cause: -cause.confidence):
        best.setdefault(cause.key, cause)
    return list(best.values())
