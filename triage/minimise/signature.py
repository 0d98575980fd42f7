"""What has to stay the same while a dump shrinks."""

from __future__ import annotations

from dataclasses import dataclass

from triage.dump.consistency import check_consistency
from triage.dump.sections import Dump
from triage.errors import DumpError, ReplayError
from triage.explain import explain
from triage.replay.deduction import deduce
from triage.replay.fixes import FIXES
from triage.replay.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Signature:
    """A failure, apart from its size.

    `leaves_cache` says that a visible id leaves the tensor for sure, `fixed`
    maps each fix to the emulator's outcome with it ("" where it cannot be applied).
    """

    invariant: str
    causes: tuple[str, ...]
    outcome: Outcome
    leaves_cache: bool
    identity_broken: bool
    fixed: tuple[tuple[str, str], ...]

    @property
    def fails(self) -> bool:
        return self.outcome in (Outcome.REPRODUCED, Outcome.DIFFERENT_FAULT)


def signature_of(dump: Dump) -> Signature | None:
    """The signature of `dump`; None for one that no longer makes sense."""
    try:
        check_consistency(dump)
        verdict = deduce(dump)
        explanation = explain(dump)
    except (DumpError, ReplayError):
        return None
    if not verdict.figures:
        return None
    footprint, identity = verdict.figures["footprint"], verdict.figures["identity"]
    return Signature(
        invariant=dump.fault.invariant,
        causes=tuple(sorted(cause.key for cause in explanation.named)),
        outcome=verdict.outcome,
        leaves_cache=footprint["bad"]["must"]["fault"] > 0,
        identity_broken=identity["wrong"] > 0,
        fixed=tuple((fix, _outcome_with(fix, dump)) for fix in FIXES if fix != "clamp"),
    )


def _outcome_with(fix: str, dump: Dump) -> str:
    try:
        return deduce(dump, fix).outcome.value
    except ReplayError:
        return ""
