"""An answer in time: where importing SGLang takes longer, its source is read meanwhile.

On two quiet cores the import takes four seconds; under a sandbox, or from a network disk, half
a minute. What binds can be read too, as it is for a release that is not installed: without
running anything of it, so a package that breaks at its import is not found out that way. Which
of the two the answer is, it says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from triage.doctor.ask import ORDER, Stages, Stop, ask
from triage.doctor.child import FOUND, LATE, READ

WITHIN_S = 7.0
READ_AFTER_S = 2.0
"""A machine that imports SGLang quickly has most of it behind it by then."""


def ask_within(
    environment: Mapping[str, str],
    source: Path,
    within_s: float = WITHIN_S,
    timeout_s: float = 120,
) -> Stages:
    """As `ask` of the installed SGLang, or by its `source` where the former takes `within_s`.

    Then what was not waited for is `LATE`, and `sglang` says after how many seconds. Where the
    source cannot be read either, the import is waited for.
    """
    began = time.monotonic()
    imported = _Asked(environment, None, timeout_s)
    if imported.wait(READ_AFTER_S):
        return imported.stages
    read = _Asked(environment, source, timeout_s)
    try:
        while not imported.wait(0.05):
            if time.monotonic() - began >= within_s and read.wait(0):
                if read.stages["bind"]["state"] == FOUND:
                    return _joined(imported.ended_so_far(), read.stages, within_s)
                imported.wait(None)
        return imported.stages
    finally:
        read.stop.now()
        imported.stop.now()


def _joined(imported: Stages, read: Stages, within_s: float) -> Stages:
    stages = {name: imported.get(name, {"state": LATE}) for name in ORDER}
    stages["sglang"] = {**read["sglang"], "state": READ, "late_s": within_s}
    stages |= {name: read[name] for name in ("bind", "unhooked")}
    return stages


class _Asked:
    """One `ask` in a thread of its own."""

    def __init__(
        self, environment: Mapping[str, str], source: Path | None, timeout_s: float
    ) -> None:
        self.stop = Stop()
        self._answer: Stages | BaseException = {}

        def run() -> None:
            try:
                self._answer = ask(environment, None, timeout_s, source, stop=self.stop)
            except BaseException as error:  # raised where the answer is asked for
                self._answer = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def stages(self) -> Stages:
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def ended_so_far(self) -> Stages:
        """Ends it: the stages that had ended by themselves."""
        self.stop.now()
        self.wait(None)
        return {name: facts for name, facts in self.stages.items() if _told(facts)}


def _told(facts: Mapping[str, object]) -> bool:
    """Did the child itself end this stage? It says then how long that took."""
    return "seconds" in facts
