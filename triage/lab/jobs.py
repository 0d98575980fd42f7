"""A command of ours as a task of an engine: run in a process of the worker's, its JSON handed back.

What plays SGLang's classes or Triton's interpreter changes the process that it runs in, so each
task has one of its own, on whichever machine the worker is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from triage.engines import Engine, Lost
from triage.errors import LabError
from triage.lab import versions

MAX_SAID = 1 << 16


class Command(NamedTuple):
    """`triage` and its arguments. release: of SGLang, "" for the installed one."""

    arguments: tuple[str, ...]
    release: str = ""


class Ended(NamedTuple):
    """How it ended. said: the end of its standard error."""

    code: int
    printed: str
    said: str


def run_triage(command: Command) -> Ended:
    """Run it here, with one thread."""
    environment = versions.environment(command.release) if command.release else dict(os.environ)
    done = subprocess.run(
        [sys.executable, "-m", "triage", *command.arguments],
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    return Ended(done.returncode, done.stdout, done.stderr[-MAX_SAID:])


def answer(command: Command, ended: Ended | Lost, codes: Sequence[int]) -> Any:
    """The JSON that it printed last. Raises LabError where it did not end with one of `codes`."""
    what = " ".join(("triage", *command.arguments))
    if isinstance(ended, Lost):
        raise LabError(f"`{what}`: {ended.reason}")
    start = ended.printed.find("{")
    try:
        found = json.loads(ended.printed[max(start, 0) :]) if ended.code in codes else None
    except ValueError:
        found = None
    if found is None:
        last = (ended.said.strip() or "nothing said").splitlines()[-1]
        where = f" under SGLang {command.release}" if command.release else ""
        raise LabError(f"`{what}`{where} ended with exit code {ended.code}: {last}")
    return found


def answers(
    engine: Engine,
    commands: Sequence[Command],
    codes: Sequence[int],
    tell: Callable[[int], None] = lambda done: None,
) -> dict[Command, Any]:
    """The JSON of each. Raises LabError for the first that fails."""
    found = {}
    for command, ended in engine.map(run_triage, commands):
        found[command] = answer(command, ended, codes)
        tell(len(found))
    return found
