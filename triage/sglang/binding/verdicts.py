"""What was found is told, whatever of ours fails while it is described, stored or printed.

The failure: a check has found a wrong page, and the error that collects its evidence reaches
the shell, which takes the whole for a mistake of ours and lets the launch go on. The rule:
from the moment a check has judged, everything runs below `trap_error`, which has a bare error
to raise where the full one cannot be made. Nothing stands between a verdict and this module.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from triage.device import capture
from triage.errors import TrapError, log_own_error, type_and_place
from triage.evidence import Evidence
from triage.invariants.findings import Findings

logger = logging.getLogger("triage")

UNDESCRIBED = "what was found could not be described; the log says why"


def trap_error(build: Callable[[], TrapError], invariant: str) -> TrapError:
    """What `build` makes; where that fails, the error of `invariant` without its evidence."""
    try:
        return build()
    except Exception as error:
        log_own_error(
            "sglang-triage: describing a fault failed: %s", type_and_place(error), error=error
        )
        return TrapError(Evidence(invariant, UNDESCRIBED, ""))


def printed(error: TrapError) -> str:
    """Its text; type and invariant alone where that cannot be made. For a log, which swallows."""
    try:
        return str(error)
    except Exception as problem:
        log_own_error(
            "sglang-triage: printing a fault failed: %s", type_and_place(problem), error=problem
        )
        return f"{type(error).__name__} ({error.evidence.invariant}): {UNDESCRIBED}"


class Verdicts:
    """How findings become an error that is raised, or in mode `log` one that is logged."""

    mode: str
    enabled: frozenset[str]

    def event_error(self, evidence: Evidence) -> TrapError:
        """The error of `evidence`, its dump written."""
        raise NotImplementedError

    def fire_event(self, evidence: Evidence) -> None:
        """Raise what a ledger or state check found, if its invariant is enabled; `log` logs it."""
        if evidence.invariant not in self.enabled:
            return
        error = trap_error(lambda: self.event_error(evidence), evidence.invariant)
        if self.mode == "log":
            logger.error("sglang-triage: %s", printed(error))
            return
        raise error

    def log_event(self, evidence: Evidence) -> None:
        """Log what was found so late that an exception would stop nothing but the server."""
        if evidence.invariant in self.enabled:
            error = trap_error(lambda: self.event_error(evidence), evidence.invariant)
            logger.error("sglang-triage: %s", printed(error))

    def fire_findings(
        self, found: Findings, invariant: str, summary: str, pool: str, where: str
    ) -> None:
        """The same for findings of a check; one host read, and nothing under a capture."""
        if invariant not in self.enabled or capture.capturing() or not found.total:
            return
        bare = Evidence(invariant, summary, where, pool=pool, total=found.total)
        self.fire_event(with_offenders(bare, found))


def with_offenders(evidence: Evidence, found: Findings) -> Evidence:
    """`evidence` with the rows and entries of `found`; as it is where they cannot be listed."""
    try:
        return replace(evidence, rows_affected=found.rows_affected, violations=found.violations())
    except Exception as error:
        log_own_error(
            "sglang-triage: listing the offenders failed: %s", type_and_place(error), error=error
        )
        return evidence
