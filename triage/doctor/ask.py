"""Start `triage.doctor.child`, wait for it, and make findings of what it told or how it ended.

Imports the standard library and our errors only: what is broken here is met by the child.
A child that dies in a stage that the others can do without is started once more without it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from triage.errors import LabError

FINE, CRASHED, TIMED_OUT, NOT_REACHED = "fine", "crashed", "timed out", "not reached"

_CAN_DO_WITHOUT = frozenset({"gpu", "torchvision", "flashinfer", "unhooked"})
ORDER = (
    "packages",
    "gpu",
    "torch",
    "torchvision",
    "flashinfer",
    "sglang",
    "bind",
    "unhooked",
    "requested",
)

Facts = dict[str, Any]
Stages = dict[str, Facts]


class Stop:
    """Ends what runs under it, from another thread: `now` may come before, within or after."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self.asked = False

    def now(self) -> None:
        with self._lock:
            self.asked = True
            self._end()

    def holds(self, child: subprocess.Popen[str]) -> None:
        with self._lock:
            self._child = child
            if self.asked:
                self._end()

    def _end(self) -> None:
        if self._child is not None and self._child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class _Ended:
    """What one child told, and the stage it died in, "" if it ran to its end."""

    stages: Stages
    died_in: str = ""


def ask(
    environment: Mapping[str, str],
    release: str | None = None,
    timeout_s: float = 120,
    source: Path | None = None,
    flags: Sequence[str] = (),
    stop: Stop | None = None,
) -> Stages:
    """Stage -> its facts, `state` among them; every stage is there.

    Args:
        environment: of the child.
        release: of SGLang, unpacked beside the installed one; None for the installed one.
        source: a wheel or folder of another SGLang, which is read and not imported.
        flags: of a server, which SGLang's own parser is asked about.
        timeout_s: for the whole of one child; what did not end by then is `timed out`.
        stop: for another thread, to end the child and have what it told so far.
    Raises:
        LabError: for a release that is not there, with those that are.
    """
    command = [sys.executable, "-m", "triage.doctor.child"]
    command += ["--release", release] if release else []
    command += ["--source", str(source)] if source else []
    command += ["--flags", json.dumps(list(flags))] if flags else []
    stages: Stages = {}
    skip: set[str] = set()
    while True:
        without = ["--skip", ",".join(sorted(skip))] if skip else []
        ended = _run([*command, *without], environment, timeout_s, stop)
        for name, facts in ended.stages.items():
            if name not in skip:
                stages[name] = facts
        if ended.died_in not in _CAN_DO_WITHOUT or ended.died_in in skip or (stop and stop.asked):
            break
        skip.add(ended.died_in)
    if "no_release" in stages.get("packages", {}):
        raise LabError(stages["packages"]["no_release"])
    return {name: stages.get(name, {"state": NOT_REACHED}) for name in ORDER}


class Ran(NamedTuple):
    """A child that ended, or was ended: what it told, why it ended badly ("" if it did not)."""

    output: str
    state: str
    reason: str


def run_child(
    command: list[str],
    environment: Mapping[str, str],
    timeout_s: float,
    stop: Stop | None = None,
) -> Ran:
    """Run a process that may die of what it imports; `state` is FINE, CRASHED or TIMED_OUT.

    What it started ends with it, at the timeout and when we are interrupted.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,  # so that what it started can be ended with it
        )
        late = False
        if stop is not None:
            stop.holds(child)
        try:
            output, _ = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
        except BaseException:  # an interrupt too: its children end first, then it goes on
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        said.seek(0)
        words = said.read()
    if late:
        return Ran(output, TIMED_OUT, f"did not end within {timeout_s:g} s")
    if child.returncode:
        return Ran(output, CRASHED, f"{_how(child.returncode)}: {last_words(words)}")
    return Ran(output, FINE, "")


def _run(
    command: list[str], environment: Mapping[str, str], timeout_s: float, stop: Stop | None
) -> _Ended:
    ran = run_child(command, environment, timeout_s, stop)
    stages, began = _stages(ran.output)
    if ran.state == FINE:
        return _Ended(stages)
    died_in = began or "packages"
    return _Ended({**stages, died_in: {"state": ran.state, "reason": ran.reason}}, died_in)


def _stages(output: str) -> tuple[Stages, str]:
    """The stages that ended, and the one that began and did not."""
    stages: Stages = {}
    began = ""
    for line in output.splitlines():
        try:
            facts = json.loads(line)
        except ValueError:
            continue  # cut by the end of the process
        name = facts.pop("stage")
        if facts.pop("began", False):
            began = name
        else:
            stages[name], began = facts, ""
    return stages, began


def _how(code: int) -> str:
    """`SIGABRT` for a signal, else the exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def last_words(text: str) -> str:
    """The line of a dead process's standard error that says why: C++'s `what()`, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("what():"):
            return line.removeprefix("what():").strip()
    return lines[-1] if lines else "it said nothing"
