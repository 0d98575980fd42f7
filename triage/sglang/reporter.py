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
from typing import Any

from triage.config import asked_as_a_whole, invariants_of
from triage.device import capture
from triage.dump.peers import Peers
from triage.dump.provenance import provenance
from triage.dump.request_ids import (
    with_request_ids,
    with_shown_ids,
    without_request_ids,
)
from triage.dump.sections import Dump
from triage.dump.store import DumpStore
from triage.errors import TrapError
from triage.evidence import Evidence, PageHistory
from triage.invariants.catalogue import (
    DEFAULT,
    IN_PART,
    READS_DEVICE,
    RESTS_ON_LEDGER,
    RESTS_ON_METADATA,
    error_of,
)
from triage.invariants.findings import Findings
from triage.sglang.binding.shell import Shell, Shells, attempt
from triage.sglang.binding.verdicts import Verdicts
from triage.sglang.holders import Holders
from triage.sglang.ranks import ranks, several

logger = logging.getLogger("triage")

LAUNCHES, WRITES, SNAPSHOTS = "checks of launches and steps", "checks of writes", "snapshots"
LEDGER_KEPT, METADATA = "ledger of pages and rows", "checks of metadata"
POOL_SUMS = "counts of the pools"
STEP_BOOKS, DRAFT_INPUTS = "books between two steps", "what drafts' graphs are fed"
PAGE_HISTORIES = "page histories"
HOST_TRANSFERS = "transfers between host and device (I24)"
CACHED_WINDOW = "what requests cache of their windows"
LOCKED_OVERLAP = "what locks keep at an insert"
LATE_AUDIT = "pages of requests against the free lists"
"""Groups of hooks that share state, as `Shells` names them; any other hook is a group alone."""

RESTS_ON = {LEDGER_KEPT: RESTS_ON_LEDGER, METADATA: RESTS_ON_METADATA}
"""What is judged elsewhere from what a group has seen, and so not any more once it is off."""


class Reporter(Verdicts):
    """One per process.

    Attributes:
        armed: False makes every hook go straight on.
        serving: has the scheduler's loop begun? From then on nothing of ours ends the process.
        enabled: the invariants that are on.
        in_part: those of them that are on only in the part that never waits for the device.
        reads_device: does any check wait for the device? Only where raising before the
            launch was asked for.
        counts: what was checked, skipped and found.
        counted_here: the same without what the hot path still holds; reading it changes nothing.
        violations: invariant -> how often it did not hold.
        holders: which request holds which row, for the words of an error and its dump.
        counted_elsewhere: adds what the hot path counted by itself, and sets it to 0.
        not_seen: calls of this server's pools that no hook sees -> what is not checked.
        step_now: the step that is being launched, 0 before the first.
        histories_of: whose hand was on the pages that evidence names; () if it is not recorded.
    """

    def __init__(
        self, store: DumpStore, checks: tuple[str, ...] = (DEFAULT,), mode: str = "raise"
    ) -> None:
        self.store = store
        self.mode = mode
        self.shells = Shells()
        self.armed = True
        self.serving = False
        # The verdicts of the device come with the steps, so launches, steps and what is watched
        # of the writes end together; `disarm` is set by whoever owns the switch.
        self.disarm: Callable[[], None] = lambda: None
        self.launch_shell = self.shells.of(LAUNCHES, lambda: self.disarm())
        self.write_shell = self.shells.of(WRITES)
        self.reads_device = mode == "raise"
        self.ask(checks)
        self.holders = Holders()
        self._counts: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.counted_elsewhere: Callable[[Counter[str]], None] = lambda counts: None
        self.histories_of: Callable[[Evidence], tuple[PageHistory, ...]] = lambda _: ()
        self.not_seen: dict[str, str] = {}
        self.step_now: Callable[[], int] = lambda: 0
        self._peers: Peers | None = None

    def restart(self, directory: Path) -> None:
        """As in a new process; dumps go to `directory`."""
        self.store = replace(self.store, directory=directory)
        self.shells.restart()
        self.holders.restart()
        self._peers = None
        self.counts.clear()
        self.violations.clear()

    @property
    def counts(self) -> Counter[str]:
        self.counted_elsewhere(self._counts)
        if self.shells.internal_errors:
            self._counts["internal errors"] = self.shells.internal_errors
        return self._counts

    @property
    def counted_here(self) -> Counter[str]:
        return self._counts

    def ask(self, checks: tuple[str, ...]) -> None:
        """Have these on: families, invariants, `default`."""
        self.enabled = invariants_of(checks)
        whole = asked_as_a_whole(checks)
        if not self.reads_device:
            whole -= READS_DEVICE
        self.in_part = (self.enabled & IN_PART) - whole

    def whole(self, invariant: str) -> bool:
        """Is it on with all that it costs, not only in the part that is free?"""
        return invariant in self.enabled and invariant not in self.in_part

    @property
    def may_wait(self) -> bool:
        """May a check wait for the device now? In mode `raise`, and never under a capture."""
        return self.reads_device and not capture.capturing()

    def wrong(self, found: Findings) -> dict[str, int]:
        """Offenders of the invariants that are enabled; empty if there are none. One host read."""
        return {name: n for name, n in found.read().items() if n and name in self.enabled}

    def group(self, name: str) -> Shell:
        """The shell of a group of hooks. Once one fails, what rests on it is not judged."""
        return self.shells.of(name, lambda: self._leave_out(RESTS_ON.get(name, frozenset())))

    def _leave_out(self, invariants: frozenset[str]) -> None:
        """Also of what is under way in an outer hook, which must not fire on half of the events."""
        self.enabled -= invariants

    def keep_histories(self, of: Callable[[Evidence], tuple[PageHistory, ...]]) -> Shell:
        """Ask `of` whose hand was on a page, for as long as the hooks it rests on are on."""
        self.histories_of = of
        return self.shells.of(PAGE_HISTORIES, self._forget_histories)

    def _forget_histories(self) -> None:
        self.histories_of = lambda _: ()

    def failure(
        self, error: type[TrapError], dump: Dump, before: str = "", batch: Any = None
    ) -> TrapError:
        """Write the dump, and make the error of its fault that says where it is, or why not.

        batch: the ScheduleBatch whose result is judged, which tells whose its rows are.
        """
        asked = self.ask_peers()
        dump = self.with_page_histories(self.with_request_ids(dump, batch))
        dump = self.with_place(self.with_what_is_not_seen(dump))
        signature = f"{error.__name__}-{dump.fault.pool or 'any'}"
        path, problem = attempt(
            "writing the dump", lambda: self.store.save(dump, signature), (None, "see the log")
        )
        self.wait_for_peers(asked)
        note = before + dump_sentence(path, problem)
        if path is None:
            return error(dump.fault, note)
        return error(dump.fault, f"{note}\nnext: triage explain {path}", str(path))

    def ranks(self) -> dict[str, int]:
        """Of this process, as far as SGLang can say. Host work only."""
        return attempt("asking for the rank", lambda: ranks(self.holders.scheduler), {})

    def with_place(self, dump: Dump) -> Dump:
        """`dump` with the rank that writes it and the step that it has come to."""
        place: dict[str, Any] = {"ranks": self.ranks()}
        if step := self.step_now():
            place["step"] = step
        return replace(dump, provenance={**dump.provenance, **place})

    def ask_peers(self) -> tuple[int, ...]:
        """Have the other ranks of this host write their rings; first of all, while they can."""
        if not several(self.ranks()):
            return ()
        if self._peers is None:
            self._peers = Peers(self.store)
        return attempt("asking the other ranks", self._peers.ask, ())

    def wait_for_peers(self, asked: tuple[int, ...]) -> None:
        """Where the alarm ends the server: until they have written, two seconds at most."""
        if asked and self._peers is not None and self.mode != "log":
            peers = self._peers
            attempt("waiting for the other ranks", lambda: peers.wait(asked), ())

    def with_request_ids(self, dump: Dump, batch: Any = None) -> Dump:
        """`dump` with the requests of the rows that it names. Host work only."""
        plain = self.store.identity
        return attempt(
            "naming the requests",
            lambda: with_request_ids(dump, self.holders.rows(batch), plain=plain),
            without_request_ids(dump),
        )

    def with_what_is_not_seen(self, dump: Dump) -> Dump:
        """`dump`, saying which calls of this server's pools go around the checks."""
        if not self.not_seen:
            return dump
        return replace(dump, provenance={**dump.provenance, "not_covered": list(self.not_seen)})

    def with_page_histories(self, dump: Dump) -> Dump:
        """`dump` with whose hand was on the pages that its fault names. Waits for the device."""
        plain = self.store.identity
        pages = attempt(
            "page histories",
            lambda: with_shown_ids(self.histories_of(dump.fault), plain=plain),
            (),
        )
        return replace(dump, fault=replace(dump.fault, pages=pages))

    def event_error(self, evidence: Evidence) -> TrapError:
        self.note_violation(evidence.invariant)
        known = attempt("provenance", provenance, {})
        return self.failure(error_of(evidence.invariant), Dump(fault=evidence, provenance=known))

    def notice(self, evidence: Evidence) -> None:
        """Log what is so in this SGLang as released, with a dump. No violation of this run."""
        if evidence.invariant not in self.enabled:
            return
        known = attempt("provenance", provenance, {})
        dump = self.with_place(Dump(fault=evidence, provenance=known))
        signature = f"{error_of(evidence.invariant).__name__}-{evidence.pool or 'any'}"
        path, problem = attempt(
            "writing the dump", lambda: self.store.save(dump, signature), (None, "see the log")
        )
        logger.warning(
            "sglang-triage: in this SGLang as released: %s; %s",
            evidence.headline(),
            dump_sentence(path, problem),
        )

    def note_violation(self, invariant: str) -> None:
        """Once for each time that something does not hold, with a dump of its own or not."""
        self._counts["violations"] += 1
        self.violations[invariant] += 1


def dump_sentence(path: Path | None, problem: str) -> str:
    """What became of a dump, in one sentence."""
    if path is None:
        return f"no dump was written: {problem}"
    return f"dump: {path}" + (f" ({problem})" if problem else "")
