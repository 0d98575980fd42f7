"""The flight recorder's ring as the `history` section of a dump.

The failure: a sticky CUDA error ends the process, and nothing can be asked of the
device any more. The ring is in host memory already; writing it touches no device.
A ring of full tables would unfold to gigabytes, so an entry's columns are written
out for the newest launches of each space and for the first that was wrong; of the
others the dump keeps lengths, rows and facts.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from triage.dump import known_errors
from triage.dump.from_ring import Recorded, launch_of
from triage.dump.history import CRASH, SNAP, faulting, first_offence
from triage.dump.observation import FACT, Failure, Form, Observation, as_fact
from triage.dump.provenance import provenance
from triage.dump.sections import Dump
from triage.errors import TrapError
from triage.evidence import Evidence
from triage.files.writing import Directory
from triage.sglang.binding.shell import attempt
from triage.sglang.launch.watching import Watching
from triage.sglang.reporter import Reporter, dump_sentence

logger = logging.getLogger("triage")

SIGNAL = signal.SIGUSR2
WITH_COLUMNS = 8
REMEMBERED = 1024
"""Steps whose launches can still be named."""


class History:
    """The ring of one process, and the dumps that are made of it."""

    def __init__(self, reporter: Reporter, watching: Watching) -> None:
        self.reporter = reporter
        self.watching = watching
        self.launches: deque[tuple[int, int, int]] = deque(maxlen=REMEMBERED)
        self._asked = 0
        self._answering = False

    def restart(self) -> None:
        """As in a new process: no launch belongs to a step yet."""
        self.launches.clear()

    def entries(self, check: int | None = None) -> tuple[dict[str, Any], ...]:
        """Oldest first; empty where nothing is recorded or the ring cannot be read.

        check: a launch of the checker whose table is wanted whatever its age.
        """
        watch = self.watching.watch
        if watch is None or watch.recorder is None:
            return ()
        recorder = watch.recorder
        found: tuple[dict[str, Any], ...] = attempt(
            "reading the flight recorder",
            lambda: recorder.entries(columns_of=WITH_COLUMNS, and_of=check),
            (),
        )
        return tuple({**entry, "step": self.step_of(entry["checker_launch"])} for entry in found)

    def note_step(self, step: int, low: int, high: int) -> None:
        """The checker's launches from `low` to before `high` were the step's."""
        self.launches.append((step, low, high))

    def step_of(self, check: int | None) -> int | None:
        """The step that the checker's launch belongs to; None if not known yet, or any more."""
        if check is None:
            return None
        for step, low, high in self.launches:
            if low <= check < high:
                return step
        return None

    def save(
        self, kind: str, summary: str, where: str, seen: Observation | None = None
    ) -> tuple[Path | None, str]:
        """Write the ring as a dump, no device touched: (path, "") or (None, why not).

        The launch that is shown is, of a crash, the one that it is most likely of; of a
        snapshot the first that was wrong.
        """
        history = self.entries()
        wrong = first_offence(history)
        facts: dict[str, object] = {"kind": kind, "launches": len(history)}
        if wrong is not None:
            facts["first wrong"] = {
                "sequence": wrong["sequence"],
                "check": wrong["checker_launch"],
                "step": wrong["step"],
            }
        shown = wrong
        if kind == CRASH:
            shown, why = faulting(history)
            if shown is not None:
                facts["faulted"] = {
                    "sequence": shown["sequence"],
                    "step": shown["step"],
                    "why": why,
                }
        if seen is not None:
            facts[FACT] = as_fact([seen])
        evidence = Evidence("", summary, where, facts=facts)
        recorded = attempt(
            "reading a launch out of the ring",
            lambda: None if shown is None else launch_of(shown),
            None,
        )
        dump = self.reporter.with_request_ids(self.dump(evidence, history, recorded))
        dump = self.reporter.with_place(self.reporter.with_what_is_not_seen(dump))
        return self.reporter.store.save(dump, kind)

    @staticmethod
    def dump(
        evidence: Evidence, history: tuple[dict[str, Any], ...], recorded: Recorded | None
    ) -> Dump:
        """Of the ring, and of one launch in it where there is one to show."""
        if recorded is None:
            return Dump(evidence, history=history, provenance=attempt("provenance", provenance, {}))
        return Dump(
            evidence,
            recorded.launch,
            recorded.tables,
            recorded.pools,
            recorded.backend,
            history=history,
            provenance=attempt("provenance", provenance, {}),
        )

    def leaving(self, error: BaseException, where: str) -> Path | None:
        """An exception leaves the scheduler: write the ring, and let it go on.

        Not for a trap's error, whose own dump holds the ring already.
        """
        if isinstance(error, TrapError) or self.watching.watch is None:
            return None
        asked = self.reporter.ask_peers()
        summary = known_errors.described(type(error).__name__, str(error), where)
        illegal = any(each in str(error) for each in known_errors.WRONG_ADDRESS)
        failure = Failure.ILLEGAL_ADDRESS if illegal else Failure.EXCEPTION
        values = {"type": type(error).__name__, "message": summary}
        seen = Observation(Form.EXCEPTION, failure, values=values)
        path, problem = attempt(
            "writing the ring",
            lambda: self.save(CRASH, summary, where, seen),
            (None, "see the log"),
        )
        self.reporter.wait_for_peers(asked)
        what = dump_sentence(path, problem)
        logger.error("sglang-triage: %s left %s; %s", type(error).__name__, where, what)
        return path

    # -- on request ------------------------------------------------------------------------

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, SIGUSR2 writes the ring; a handler that was there before runs too.

        A file `armed.PID` beside the dumps tells `triage snap` that this process may be
        asked. Only in the main thread, where Python delivers signals; elsewhere nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            logger.warning("sglang-triage: not in the main thread, SIGUSR2 is not listened to")
            yield
            return
        before = signal.getsignal(SIGNAL)

        def snap(number: int, frame: FrameType | None) -> None:
            self._asked += 1
            self._answer()
            if callable(before):
                before(number, frame)

        signal.signal(SIGNAL, snap)
        owner = os.getpid()
        marked = self._mark()
        try:
            yield
        finally:
            if os.getpid() == owner:  # a forked child that unwinds through here owns nothing
                self._unmark(marked)
            signal.signal(SIGNAL, before if before is not None else signal.SIG_DFL)

    def _mark(self) -> tuple[Directory, int] | None:
        """Leave `armed.PID`, held locked for as long as this process listens."""
        try:
            directory = self.reporter.store.open()
            return directory, directory.create_held(f"armed.{os.getpid()}")
        except OSError as error:
            logger.error("sglang-triage: `triage snap` will not find this process: %s", error)
            return None

    @staticmethod
    def _unmark(marked: tuple[Directory, int] | None) -> None:
        if marked is not None:
            directory, held = marked
            directory.remove(f"armed.{os.getpid()}")
            os.close(held)

    def _answer(self) -> None:
        """One snapshot for each time that was asked, one after the other.

        A signal may come while a snapshot is being written, in the same thread.
        """
        if self._answering:
            return
        self._answering = True
        try:
            while self._asked:
                self._asked -= 1
                self._snap()
        finally:
            self._answering = False

    def _snap(self) -> None:
        path, problem = attempt(
            "a snapshot",
            lambda: self.save(SNAP, "a snapshot that was asked for", "SIGUSR2"),
            (None, "see the log"),
        )
        logger.warning("sglang-triage: SIGUSR2; %s", dump_sentence(path, problem))
