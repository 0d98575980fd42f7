"""What a replay found, and the exit code that says it to a script."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from triage.dump.history import CRASH
from triage.dump.observation import DEVICE_FAULTS, observations_of
from triage.dump.sections import Dump
from triage.invariants.catalogue import SHOWN_BY_ADDRESSES, SHOWN_BY_IDS

EXIT_CLEAN = 0
EXIT_CANNOT_RUN = 3


class Outcome(StrEnum):
    REPRODUCED = "REPRODUCED"
    DIFFERENT_FAULT = "DIFFERENT_FAULT"
    NOT_REPRODUCED = "NOT_REPRODUCED"
    CANNOT_RUN = "CANNOT_RUN"


class Basis(StrEnum):
    EXECUTED = "executed"
    DEDUCED = "deduced"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One kernel's answer.

    `fault_expected` says whether the dump records a fault that this run should
    show: it does not for a run with a fix, nor for a snapshot of a clean launch.
    """

    kernel: str
    outcome: Outcome
    basis: Basis
    reasons: tuple[str, ...]
    fault_expected: bool = True
    fix: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        if self.outcome is Outcome.NOT_REPRODUCED:
            return 5 if self.fault_expected else EXIT_CLEAN
        return {
            Outcome.REPRODUCED: 1,
            Outcome.DIFFERENT_FAULT: 4,
            Outcome.CANNOT_RUN: EXIT_CANNOT_RUN,
        }[self.outcome]

    def as_dict(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "outcome": self.outcome.value,
            "basis": self.basis.value,
            "exit_code": self.exit_code,
            "fix": self.fix,
            "reasons": list(self.reasons),
            "figures": self.figures,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any], *, fault_expected: bool) -> Verdict:
        """The verdict a child process wrote; KeyError, TypeError or ValueError if it is not one."""
        return cls(
            kernel=str(plain["kernel"]),
            outcome=Outcome(plain["outcome"]),
            basis=Basis(plain["basis"]),
            reasons=tuple(str(reason) for reason in plain["reasons"]),
            fault_expected=fault_expected,
            fix=str(plain["fix"]),
            figures=dict(plain["figures"]),
        )


_WORST_FIRST = (
    Outcome.REPRODUCED,
    Outcome.DIFFERENT_FAULT,
    Outcome.NOT_REPRODUCED,
    Outcome.CANNOT_RUN,
)


def exit_code(verdicts: list[Verdict]) -> int:
    """The exit code of a run over several kernels: the worst executed one, else the worst deduced.

    A kernel that cannot run says nothing about the fault, so it decides only
    where no other did run.
    """
    ran = [verdict for verdict in verdicts if verdict.outcome is not Outcome.CANNOT_RUN]
    for basis in Basis:
        of_basis = [verdict for verdict in ran if verdict.basis is basis]
        if of_basis:
            return min(of_basis, key=lambda verdict: _WORST_FIRST.index(verdict.outcome)).exit_code
    return EXIT_CANNOT_RUN


def records_fault(dump: Dump) -> bool:
    """A dump may also be a snapshot of a launch nobody complained about."""
    if dump.fault.invariant or dump.fault.facts.get("kind") == CRASH:
        return True
    return any(each.failure in DEVICE_FAULTS for each in observations_of(dump.fault.facts))


def outcome_of(dump: Dump, *, address: bool, identity: bool) -> Outcome:
    """Does what a replay found belong to what the dump records?

    Args:
        address: an id leaves the cache, or reads padding as if it were keys.
        identity: an id inside the cache is not the one I2 demands.
    """
    if not (address or identity):
        return Outcome.NOT_REPRODUCED
    if not dump.fault.invariant and records_fault(dump) and not address:
        return Outcome.DIFFERENT_FAULT  # a wrong page inside the cache ends no kernel
    recorded = dump.fault.invariant
    if recorded in SHOWN_BY_ADDRESSES and not address:
        return Outcome.DIFFERENT_FAULT
    if recorded in SHOWN_BY_IDS and not identity:
        return Outcome.DIFFERENT_FAULT
    return Outcome.REPRODUCED
