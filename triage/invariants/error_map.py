"""Which error and which sentence stand for an invariant, and which of several is named first."""

from __future__ import annotations

from collections.abc import Collection

from triage.errors import BrokenLifecycle, OutOfBounds, TableForm, TrapError, WrongIndexSpace

_ERRORS: dict[str, type[TrapError]] = {
    "I1": OutOfBounds,
    "I2": WrongIndexSpace,
    "I12": TableForm,
    "I20": OutOfBounds,
    "I26": TableForm,
}
SUMMARY = {
    "I1": "a live page-table entry is outside the pool that is read",
    "I2": "a live page-table entry is not the page that req_to_token names",
    "I3": "a token is written to a slot that is not its own",
    "I10": "a padded row reads another page than the dummy page",
    "I12": "a sequence length does not fit the launch",
    "I20": "the allocator returned a slot it must not",
    "I20 last_loc": "a request goes on behind a slot that is not its own last one",
    "I26": "the page table is narrower than a sequence",
}
_CAUSE_FIRST = ("I26", "I12", "I10", "I20", "I2", "I3", "I1")


def first_of(invariants: Collection[str]) -> str:
    """The one to name: I1 is the late symptom, I2 the cause; a wrong length makes both."""
    return next((name for name in _CAUSE_FIRST if name in invariants), "I2")


def typed(invariant: str) -> type[TrapError]:
    return _ERRORS.get(invariant, BrokenLifecycle)
