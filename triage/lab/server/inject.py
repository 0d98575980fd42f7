"""Errors of ours in a running server: one at each call that a hook makes, one call a step.

The server is to answer as if nothing were. From the moment the control file is there, the
scheduler's thread is traced; the first call of a function of ours that was not spoiled yet
raises, the traps are armed again at the next step, and the next function has its turn.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from triage.lab.injection import HERE, Injected, is_ours
from triage.lab.server import plugin_folder
from triage.lab.server.late import Lines, Observer, Step, observe


class Injector(Observer):
    """Writes one `injected` line for each error: the function, how often it was told, what is off.

    control: nothing is done before this file exists.
    """

    def __init__(self, out: Path, control: Path) -> None:
        self.lines, self.control = Lines(out), control
        self._spoiled: set[CodeType] = set()
        self._raised = ""
        self._logged = _InjectedErrors()
        self._enabled: frozenset[str] = frozenset()

    def begin(self, step: Step) -> None:
        if not self.control.exists():
            return
        from triage.sglang.install import state

        sys.settrace(None)
        installed = state()
        if installed is None or installed.traps is None:
            return
        if self._raised:
            self._note(installed, step.number)
        if not self._enabled:
            self._enabled = installed.traps.reporter.enabled
            logging.getLogger("triage").addHandler(self._logged)
        sys.settrace(self._trace)

    def _note(self, installed: Any, step: int) -> None:
        off = sorted(installed.shells.failures)
        self.lines.write(
            "injected", step=step, function=self._raised, told=self._logged.count, off=off
        )
        self._raised, self._logged.count = "", 0
        rearm(installed.traps, self._enabled)

    def _trace(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if self._raised or code in self._spoiled or not is_ours(frame):
            return
        self._spoiled.add(code)
        self._raised = f"{code.co_filename.removeprefix(HERE)}:{code.co_qualname}"
        sys.settrace(None)
        raise Injected


class _InjectedErrors(logging.Handler):
    """Counts the log's lines that bring an injected error with its traceback."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and isinstance(record.exc_info[1], Injected):
            self.count += 1


def rearm(traps: Any, enabled: frozenset[str]) -> None:
    """On again what an error switched off, without what was half kept."""
    traps.reporter.shells.restart()
    traps.reporter.enabled = enabled
    traps.launches.freshness.restart()
    traps.launches.hot.forget()
    traps.armed = True


def read(path: Path) -> dict[str, Any]:
    """Figures of the errors in `path`: how many, and which were not told exactly once."""
    rows = [line for line in Lines.read(path) if line["kind"] == "injected"]
    wrong = [row["function"] for row in rows if row["told"] != 1]
    return {"errors": len(rows), "told once": len(rows) - len(wrong), "else": wrong[:20]}


def plugin(directory: Path, out: Path, control: Path) -> Path:
    """A plugin folder with which a server raises at our calls once `control` is there."""
    return plugin_folder.write(
        directory, "injector", f"{__name__}:insert", out=str(out), control=str(control)
    )


def insert(out: str, control: str) -> None:
    observe(Injector(Path(out), Path(control)))
