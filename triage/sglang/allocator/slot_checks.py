"""I20: the slots that `alloc_extend` and `alloc_decode` return, and those they go on behind.

The failure: a slot of the dummy page, of no page, or of two requests is written to before
any table names it. Both sides of the pool and `last_loc` are judged in one host read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from triage.dump.provenance import provenance
from triage.dump.sections import Dump
from triage.errors import OutOfBounds, TrapError
from triage.evidence import Evidence
from triage.invariants.allocator import check_allocated, check_continuation, check_last_slots
from triage.invariants.catalogue import sentence
from triage.invariants.findings import Findings, read_together
from triage.invariants.found import Found
from triage.invariants.rows import rows_with_page
from triage.sglang.allocator.ledger_hooks import has_mapping
from triage.sglang.binding.shell import attempt
from triage.sglang.binding.verdicts import trap_error
from triage.sglang.launch.entry import Entries
from triage.sglang.reporter import Reporter

CONTINUES_EVICTED = "a request goes on in a page whose SWA side is gone, evicted or freed"
WRONG_LAST_SLOT = "a request goes on behind a slot that is not its own last one"


class SlotChecks:
    """Stands around the SWA allocator's two calls. `entries` is told of the allocator."""

    def __init__(self, reporter: Reporter, entries: Entries) -> None:
        self.reporter = reporter
        self.entries = entries

    def around(self, where: str) -> Callable[..., Any]:
        """The hook of the call named `where`."""

        def hook(original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.reporter.armed:
                return original(allocator, *args, **kwargs)
            given = self.before_alloc(original, allocator, args, kwargs)
            slots = original(allocator, *args, **kwargs)
            last_loc = partial(last_loc_of, original, allocator, args, kwargs)
            self.after_alloc(allocator, slots, where, given, last_loc)
            return slots

        return hook

    def before_alloc(
        self, original: Any, allocator: Any, args: Any, kwargs: Any
    ) -> tuple[Findings, ...]:
        """The checks of the call's `last_loc`, not read yet; none where there is none to judge."""
        if not self.judges:
            return ()
        return last_slots(original, allocator, args, kwargs, self.entries.request_table())

    @property
    def judges(self) -> bool:
        """Is the next allocator call looked at? Not where nothing may wait for the device."""
        return "I20" in self.reporter.enabled and self.reporter.may_wait

    def after_alloc(
        self,
        allocator: Any,
        slots: Tensor | None,
        where: str,
        given: Sequence[Findings] = (),
        last_loc: Callable[[], Tensor | None] = lambda: None,
    ) -> None:
        """Raise OutOfBounds if `alloc_extend` or `alloc_decode` returned an illegal slot.

        Both sides are judged: the full slots returned and the SWA slots they map
        to, unless the SWA side is a ring, which has no page for a slot; `given`, of what
        the call was given, are read with them. None, a full pool, is not a fault.
        `last_loc` is asked for an error alone. Cost: one host read.
        """
        self.entries.note_allocator(allocator)
        if slots is None or not self.judges:
            return
        page = int(allocator.page_size)
        sides = [("full", check_allocated(slots, size=int(allocator.size_full), page_size=page))]
        if has_mapping(allocator):
            mapping = allocator.full_to_swa_index_mapping
            swa = mapping[slots.to(torch.int64).clamp(0, len(mapping) - 1)]
            size_swa = int(allocator.size_swa)
            sides.append(("swa", check_allocated(swa, size=size_swa, page_size=page)))
        read_together([found for _, found in sides] + [*given])
        self.reporter.counts["allocations"] += 1
        self.reporter.counts["host reads"] += 1
        judged = [("full", found, page) for found in given] + [(*side, 0) for side in sides]
        for name, found, at in judged:
            if found.total and "I20" in self.reporter.enabled:
                error = partial(self._alloc_error, name, found, where, at, last_loc)
                raise trap_error(error, "I20")

    def _alloc_error(
        self,
        pool: str,
        found: Findings,
        where: str,
        page: int,
        last_loc: Callable[[], Tensor | None],
    ) -> TrapError:
        """page: its size, where the slot to go on from is what is wrong; else 0."""
        self.reporter.note_violation("I20")
        violations = attempt("listing the offenders", found.violations, ())
        table = attempt("finding the request table", self.entries.request_table, None)
        summary = sentence("I20")
        if page:
            evicted = bool(violations) and violations[0].kind == Found.CONTINUES_EVICTED_PAGE
            summary = CONTINUES_EVICTED if evicted else WRONG_LAST_SLOT
        facts: dict[str, object] = {}
        if page and violations:
            last = attempt("reading last_loc", last_loc, None)
            if last is not None:
                facts["full pages"] = [int(last[violations[0].row]) // page]
        if page and table is not None and violations and summary == WRONG_LAST_SLOT:
            facts["rows_with_that_page"] = attempt(
                "finding who holds the page",
                lambda: rows_with_page(table, violations[0].value, page),
                None,
            )
        evidence = Evidence(
            invariant="I20",
            summary=summary,
            where=where,
            pool=pool,
            total=found.total,
            rows_affected=found.rows_affected,
            violations=violations,
            facts=facts,
        )
        dump = Dump(fault=evidence, provenance=attempt("provenance", provenance, {}))
        return self.reporter.failure(OutOfBounds, dump)


def _given(original: Any, allocator: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The call's arguments by name."""
    return inspect.signature(original).bind(allocator, *args, **kwargs).arguments


def last_loc_of(original: Any, allocator: Any, args: Any, kwargs: Any) -> Tensor | None:
    """`last_loc` of one call of `alloc_extend` or `alloc_decode`."""
    last: Tensor | None = _given(original, allocator, args, kwargs).get("last_loc")
    return last


def last_slots(
    original: Any, allocator: Any, args: Any, kwargs: Any, table: Tensor | None
) -> tuple[Findings, ...]:
    """The checks of `last_loc` for one call of `alloc_extend` or `alloc_decode`; unread."""
    given = _given(original, allocator, args, kwargs)
    last, lengths = given.get("last_loc"), given.get("seq_lens")
    page = int(allocator.page_size)
    if last is None or lengths is None or page == 1 or not len(last):
        return ()
    held = given["prefix_lens"] if "prefix_lens" in given else lengths - 1
    held, grows = held.to(last.device), (lengths > held).to(last.device)
    own_slot = check_last_slots(
        held,
        grows,
        last,
        page_size=page,
        req_to_token=None if table is None else table.to(last.device),
    )
    if not has_mapping(allocator):
        return (own_slot,)
    mapping = allocator.full_to_swa_index_mapping
    size_swa = int(allocator.size_swa)
    return own_slot, check_continuation(
        held, grows, last, mapping, size_swa=size_swa, page_size=page
    )
