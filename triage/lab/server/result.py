"""What came of one served load: the outcome, its evidence, and the exit code it means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triage.errors import DumpError
from triage.lab.server import server_log
from triage.lab.server.load import LoadResult
from triage.lab.server.plugin_folder import FIRST
from triage.lab.server.server_log import Activity

OUTCOMES = {
    "clean": "clean: every request answered, no trap fired, the server lived",
    "trapped": "TRAPPED: a trap fired and left a dump",
    "fault": "FAULT: an illegal memory access, and no trap saw it",
    "died": "DIED: the server ended",
    "failed": "FAILED REQUESTS: the server lived, some requests did not",
    "unguarded": "NOT GUARDED: traps were asked for, and the log names no device that is watched",
    "no defect": "NO DEFECT: it was asked for, and SGLang could not run the plugin that puts it in",
    "interrupted": "INTERRUPTED: what follows is as far as it came",
}
"""Outcome -> its sentence, worst evidence first where several hold (`Served.outcome`)."""


@dataclass(frozen=True, slots=True)
class ExplainedDump:
    """One dump of the server: where it is, what it recorded, and the cause it is explained by.

    role, in_graph: of the launch; None where the dump does not say.
    causes, keys: names and keys of the causes that fit best; empty where none is known.
    error: why the dump could not be read, "" if it could.
    pages_named, pages_with_events: pages whose history was asked for, and those that have one.
    hands: of each of the latter the newest event, `page 5 of the full pool freed in step 7 by ...`.
    """

    path: Path
    invariant: str = ""
    summary: str = ""
    where: str = ""
    role: str | None = None
    in_graph: bool | None = None
    causes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    confidence: str = ""
    fix: str = ""
    error: str = ""
    pages_named: int = 0
    pages_with_events: int = 0
    hands: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "invariant": self.invariant,
            "summary": self.summary,
            "where": self.where,
            "role": self.role,
            "in_graph": self.in_graph,
            "causes": list(self.causes),
            "keys": list(self.keys),
            "confidence": self.confidence,
            "fix": self.fix,
            "error": self.error,
            "pages_named": self.pages_named,
            "pages_with_events": self.pages_with_events,
            "hands": list(self.hands),
        }


def explained(path: Path) -> ExplainedDump:
    """Read and explain one dump; a dump that cannot be read is a finding, not an error."""
    from triage.dump.file import read_dump
    from triage.explain import explain

    try:
        dump = read_dump(path)
    except DumpError as error:
        return ExplainedDump(path, error=str(error))
    named = explain(dump).named
    return ExplainedDump(
        path,
        invariant=dump.fault.invariant,
        summary=dump.fault.summary,
        where=dump.fault.where,
        role=None if dump.backend is None else dump.backend.role,
        in_graph=None if dump.backend is None else dump.backend.in_graph,
        causes=tuple(cause.name for cause in named),
        keys=tuple(cause.key for cause in named),
        confidence=named[0].confidence.name.lower() if named else "",
        fix=named[0].fix if named else "",
        pages_named=len(dump.fault.pages),
        pages_with_events=sum(bool(page.events) for page in dump.fault.pages),
        hands=tuple(
            f"{page.name} {page.events[0].sentence()}" for page in dump.fault.pages if page.events
        ),
    )


@dataclass(frozen=True, slots=True)
class Served:
    """The result of `session.serve`. `log` is the server's whole log.

    startup_s: until /health answered; None where it never did.
    death: why the server ended before it was stopped, "" if it did not.
    """

    shape: str
    small: bool
    mtp: bool
    defect: str | None
    mode: str
    fixes: tuple[str, ...]
    gpu: str
    arch: str
    sglang: str
    flashinfer: str | None
    server_flags: tuple[str, ...]
    notes: tuple[str, ...]
    startup_s: float | None
    load: LoadResult | None
    activity: Activity
    death: str
    log_path: Path
    log: str
    dumps: tuple[ExplainedDump, ...]
    interrupted: bool = False

    @property
    def outcome(self) -> str:
        """A key of OUTCOMES."""
        if any(each.invariant or each.error for each in self.dumps):
            return "trapped"
        if server_log.illegal_access(self.log):
            return "fault"
        if self.death:
            return "died"
        if self.interrupted:
            return "interrupted"
        if self.load is not None and (self.load.failed or self.load.ended or self.load.unsent):
            return "failed"
        if self.mode != "off" and not self.guarded:
            return "unguarded"
        if self.defect and f"Failed to execute general plugin: {FIRST}" in self.log:
            return "no defect"
        return "clean"

    @property
    def guarded(self) -> bool:
        """Does the server's log say that launches are watched?

        The scheduler binds before it configures its log, so that the traps are armed is
        seldom in it; that they watch a device is said later, when they take their memory.
        """
        said = any(f"sglang-triage{words}" in self.log for words in (": watching", " traps armed"))
        return said and not any(
            f"sglang-triage{words}" in self.log
            for words in (" is NOT active", ": launches are NOT covered")
        )

    @property
    def exit_code(self) -> int:
        return 0 if self.outcome == "clean" else 1

    @property
    def remarks(self) -> list[str]:
        """What sglang-triage said in the server's log beside that it is armed, each once."""
        said = (line.partition("sglang-triage")[2] for line in self.log.splitlines())
        lines = dict.fromkeys(line.lstrip(": ") for line in said if line)
        return [line for line in lines if not line.startswith(("traps armed", "watching"))]

    def json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "shape": self.shape,
            "small": self.small,
            "mtp": self.mtp,
            "defect": self.defect,
            "mode": self.mode,
            "fixes": list(self.fixes),
            "gpu": self.gpu,
            "arch": self.arch,
            "sglang": self.sglang,
            "flashinfer": self.flashinfer,
            "server_flags": list(self.server_flags),
            "notes": list(self.notes),
            "startup_s": None if self.startup_s is None else round(self.startup_s, 1),
            "guarded": self.guarded,
            "load": None if self.load is None else self.load.json(),
            "activity": self.activity.json(),
            "death": self.death,
            "illegal_access": server_log.illegal_access(self.log),
            "dumps": [dump.json() for dump in self.dumps],
            "remarks": self.remarks,
            "log": str(self.log_path),
        }
