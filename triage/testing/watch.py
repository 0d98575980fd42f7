"""Whatever the traps write while a test runs, in its process or in the servers that it starts.

A trap raises, and SGLang or the test may swallow what it raised; its dump stays. So what a test
is held to is the directory that it was given: a dump that records a violation fails it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock


@dataclass(frozen=True, slots=True)
class Violation:
    """One dump. headline: what it says was wrong. cause: "name (confidence)", or the status."""

    path: Path
    invariant: str
    headline: str
    cause: str

    def __str__(self) -> str:
        return f"{self.headline}\n  cause: {self.cause}\n  dump:  {self.path}"


def violations_in(directory: Path) -> list[Violation]:
    """Of every dump there that records a fault, oldest first; snapshots on request do not."""
    from triage.dump.file import read_dump
    from triage.dump.store import SUFFIX
    from triage.errors import TriageError
    from triage.explain import explain

    found = []
    paths = [path for path in directory.iterdir() if path.name.endswith(SUFFIX)]
    for path in sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name)):
        try:
            dump = read_dump(path)
        except TriageError as error:
            found.append(Violation(path, "", f"a dump that cannot be read: {error}", "unknown"))
            continue
        if not dump.fault.invariant:
            continue
        named = explain(dump)
        causes = ", ".join(f"{c.key} ({c.confidence.name.lower()})" for c in named.named)
        headline = dump.fault.headline().splitlines()[0]
        found.append(Violation(path, dump.fault.invariant, headline, causes or named.status))
    return found


@contextmanager
def armed(directory: Path, checks: str = "", mode: str = "raise") -> Iterator[None]:
    """Inside, servers that are started are armed, and SGLang in this process if it is loaded.

    Raises:
        InstallError: SGLang is loaded here, and a trap cannot be bound to it.
    """
    from triage import config

    wanted = {config.DEBUG: "1", config.DIRECTORY: str(directory), config.MODE: mode}
    wanted |= {config.CHECKS: checks} if checks else {}
    with mock.patch.dict(os.environ, wanted):
        here, before = _bound_here()
        if here is None or here.traps is None:
            yield
            return
        reporter = here.traps.reporter
        enabled, in_part = reporter.enabled, reporter.in_part
        here.traps.restart(directory)
        here.state_hooks.restart()
        if checks:
            reporter.ask(tuple(checks.split(",")))
        here.traps.armed = True
        try:
            yield
        finally:
            here.traps.armed = before
            reporter.enabled, reporter.in_part = enabled, in_part


def _bound_here() -> tuple[Any, bool]:
    """Our installation in this process, made now where SGLang is loaded, and was it armed.

    A mode is for life: what was bound in one keeps it.
    """
    if "sglang" not in sys.modules:
        return None, False
    from triage import config
    from triage.sglang.install import install, state

    if (found := state()) is not None:
        return found, found.traps is not None and found.traps.armed
    from sglang.srt.plugins.hook_registry import HookRegistry

    found = install(config.from_environment())
    HookRegistry.apply_hooks()
    return found, False
