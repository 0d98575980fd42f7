"""What every trap reports to: which invariants are on, what was counted, and the error's dump.

A hook judges; this raises what it found, or logs it in mode `log`, with the dump
beside it. It knows no launch and no allocator.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from triage.config import invariants_of
from triage.device import capture
from triage.dump.provenance import provenance
from triage.dump.sections import Dump
from triage.dump.store import DumpStore
from triage.errors import TrapError
from triage.evidence import Evidence
from triage.invariants.catalogue import CHEAP_FAMILIES, IN_GRAPHS, error_of
from triage.invariants.findings import Findings
from triage.sglang.binding.shell import Shells, attempt

logger = logging.getLogger("triage")

LAUNCHES, ALLOCATOR, SNAPSHOTS = "all traps", "allocator and state", "snapshots"
"""The groups of hooks that share state, as `Shells` names them."""

AT_LAUNCHES = frozenset(IN_GRAPHS)
"""What is judged from a launch or a write alone, whatever the hooks at the state have seen."""


class Reporter:
    """One per process.

    Attributes:
        enabled: the invariants that are asked for.
        reads_device: does any check wait for the device? Only where raising before the
            launch was asked for.
        counts: what was checked, skipped and found.
        counted_here: the same without what the hot path still holds; reading it changes nothing.
        violations: invariant -> how often it did not hold.
        counted_elsewhere: adds what the hot path counted by itself, and sets it to 0.
    """

    def __init__(
        self, store: DumpStore, checks: tuple[str, ...] = CHEAP_FAMILIES, mode: str = "raise"
    ) -> None:
        self.store = store
        self.mode = mode
        self.shells = Shells()
        # Of all that looks at launches and steps, and what rests on them; `switched_off` is
        # set by whoever owns the switch.
        self.launch_shell = self.shells.of(LAUNCHES, self._launches_off)
        self.allocator_shell = self.shells.of(ALLOCATOR, self._allocator_off)
        self.disarm: Callable[[], None] = lambda: None
        self.reads_device = mode == "raise"
        self.enabled = invariants_of(checks)
        self._counts: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.counted_elsewhere: Callable[[Counter[str]], None] = lambda counts: None

    def restart(self, directory: Path) -> None:
        """As in a new process; dumps go to `directory`."""
        self.store = replace(self.store, directory=directory)
        self.shells.restart()
        self.counts.clear()
        self.violations.clear()

    @property
    def counts(self) -> Counter[str]:
        self.counted_elsewhere(self._counts)
        return self._counts

    @property
    def counted_here(self) -> Counter[str]:
        return self._counts

    @property
    def may_wait(self) -> bool:
        """May a check wait for the device now? In mode `raise`, and never under a capture."""
        return self.reads_device and not capture.capturing()

    def wrong(self, found: Findings) -> dict[str, int]:
        """Offenders of the invariants that are enabled; empty if there are none. One host read."""
        return {name: n for name, n in found.read().items() if n and name in self.enabled}

    def _launches_off(self) -> None:
        self._counts["internal errors"] += 1
        self.disarm()

    def _allocator_off(self) -> None:
        """What is under way in an outer hook must not fire on half of the events."""
        self._counts["internal errors"] += 1
        self.enabled &= AT_LAUNCHES

    def count_violation(self, invariant: str) -> None:
        """Once for each time that something does not hold, with a dump of its own or not."""
        self.counts["violations"] += 1
        self.violations[invariant] += 1

    def failure(self, error: type[TrapError], dump: Dump, before: str = "") -> TrapError:
        """Write the dump, and make the error of its fault that says where it is, or why not."""
        signature = f"{error.__name__}-{dump.fault.pool or 'any'}"
        path, problem = attempt(
            "writing the dump", lambda: self.store.save(dump, signature), (None, "see the log")
        )
        note = before + dump_sentence(path, problem)
        if path is None:
            return error(dump.fault, note)
        return error(dump.fault, f"{note}\nnext: triage explain {path}", str(path))

    def fire_event(self, evidence: Evidence) -> None:
        """Raise what a ledger or state check found, if its invariant is enabled; `log` logs it."""
        if evidence.invariant not in self.enabled:
            return
        self.count_violation(evidence.invariant)
        known = attempt("provenance", provenance, {})
        dump = Dump(fault=evidence, provenance=known)
        failure = self.failure(error_of(evidence.invariant), dump)
        if self.mode == "log":
            logger.error("sglang-triage: %s", failure)
            return
        raise failure

    def fire_findings(
        self, found: Findings, invariant: str, summary: str, pool: str, where: str
    ) -> None:
        """The same for findings of a check; one host read, and nothing under a capture."""
        if invariant not in self.enabled or capture.capturing() or not found.total:
            return
        self.fire_event(
            Evidence(
                invariant,
                summary,
                where,
                pool=pool,
                total=found.total,
                rows_affected=found.rows_affected,
                violations=attempt("listing the offenders", found.violations, ()),
            )
        )


def dump_sentence(path: Path | None, problem: str) -> str:
    """What became of a dump, in one sentence."""
    if path is None:
        return f"no dump was written: {problem}"
    return f"dump: {path}" + (f" ({problem})" if problem else "")
