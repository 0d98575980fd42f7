"""The long run in which nothing may fire: the state machine, search after search, kept on disk.

A search is a handful of lifecycles of `machine.py` drawn from one number. Each is
written as one JSON line when it is done, so an interrupted run loses one search at
most and goes on where it stopped. A failure ends no run: it is shrunk, classified by
the oracles (a false alarm, or a finding) and written with its script.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triage.errors import LabError
from triage.lab.combinations import Combination, of_release

Progress = Callable[[int, int], None]

EXAMPLES = 6  # lifecycles in a search: some 250 steps with what Hypothesis adds
RULES = 24
_COUNTED = ("examples", "steps", "launches", "allocator_events", "ledger_audits", "seconds")


@dataclass(slots=True)
class SoakReport:
    """A run, over all its searches. `alarms` are false, `findings` are not; both have a script."""

    searches: int = 0
    examples: int = 0
    steps: int = 0
    launches: int = 0
    allocator_events: int = 0
    ledger_audits: int = 0  # free lists found equal to the ledger
    seconds: float = 0.0  # of all processes together
    cells: Counter[tuple[str, Combination]] = field(default_factory=Counter)
    settings: Counter[str] = field(default_factory=Counter)  # steps under each
    known: dict[str, int] = field(default_factory=dict)  # combinations of each release
    alarms: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[dict[str, Any]]) -> SoakReport:
        report = cls()
        for line in lines:
            report.add(line)
        return report

    def add(self, line: dict[str, Any]) -> None:
        self.searches += 1
        for name in _COUNTED:
            setattr(self, name, getattr(self, name) + line[name])
        for kind, page, backend, steps in line["cells"]:
            self.cells[line["sglang"], Combination(kind, page, backend)] += steps
        self.settings.update(line["settings"])
        self.known[line["sglang"]] = line["combinations"]
        failure = line["failure"]
        if failure is not None:
            found = {"sglang": line["sglang"], "number": line["number"], **failure}
            (self.alarms if failure["oracle"] == "silent" else self.findings).append(found)

    def table(self) -> list[tuple[str, str, str, int, str, str, int]]:
        """(release, backend, pool, page size, draft, cache, steps), each combination once."""
        return sorted(
            (version, c.backend, c.pool, c.page, c.draft, c.cache or "none", steps)
            for (version, c), steps in self.cells.items()
        )

    def drawn(self) -> dict[str, dict[str, int]]:
        """Per release: combinations with a step, all that it has, and steps."""
        found = {}
        for version, known in sorted(self.known.items()):
            own = [steps for (release, _), steps in self.cells.items() if release == version]
            found[version] = {"drawn": len(own), "of": known, "steps": sum(own)}
        return found

    def json(self) -> dict[str, Any]:
        totals = {name: getattr(self, name) for name in ("searches", *_COUNTED)}
        return {
            **totals,
            "seconds": round(self.seconds, 2),
            "steps_per_second": round(self.steps / self.seconds, 1) if self.seconds else 0.0,
            "releases": self.drawn(),
            "settings": dict(sorted(self.settings.items())),
            "cells": [list(row) for row in self.table()],
            "alarms": self.alarms,
            "findings": self.findings,
        }


def soak(
    steps: int,
    first: int,
    directory: Path,
    output: Path | None = None,
    progress: Progress = lambda done, total: None,
    mode: str = "raise",
) -> SoakReport:
    """Search under the SGLang of this process until `steps` decode steps are done.

    first: number of the first search. output: JSON lines, read first and gone on with.
    mode: of the traps, see `machine.search`.
    """
    from triage.lab.bootstrap import sglang_version
    from triage.lab.machine import search

    version = sglang_version()
    done = [line for line in lines_of(output) if line["sglang"] == version]
    report = SoakReport.of(done)
    number = max([first - 1, *(line["number"] for line in done)]) + 1
    progress(min(report.steps, steps), steps)
    while report.steps < steps:
        tally, failure = search(EXAMPLES, RULES, directory, number=number, mode=mode)
        played = sum(tally.steps.values())
        if not played:
            raise LabError(f"search {number} played no step on SGLang {version}")
        if failure is None and mode == "raise" and tally.ledger_audits < tally.free_lists:
            raise LabError(
                f"search {number}: {tally.ledger_audits} audits of the ledger in {played} steps; "
                f"{tally.free_lists} free lists were to be compared, those of every step"
            )
        line = {
            "sglang": version,
            "number": number,
            "examples": tally.examples,
            "steps": played,
            "launches": tally.launches,
            "allocator_events": tally.allocator_events,
            "ledger_audits": tally.ledger_audits,
            "seconds": round(tally.seconds, 2),
            "combinations": len(of_release(version)),
            "settings": dict(tally.settings),
            "cells": [[*cell, count] for cell, count in sorted(tally.steps.items()) if count],
            "failure": failure
            and {"error": failure.error, "oracle": failure.oracle, "script": failure.script},
        }
        if output is not None:
            with output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        report.add(line)
        number += 1
        progress(min(report.steps, steps), steps)
    return report


def lines_of(output: Path | None, *, mend: bool = True) -> Iterator[dict[str, Any]]:
    """The searches written so far. A last line cut short by an interruption is dropped.

    mend: it is taken out of the file too; no, where another process writes that file now.
    """
    if output is None or not output.exists():
        return
    text = output.read_text(encoding="utf-8")
    whole, _, torn = text.rpartition("\n")
    if torn and mend:
        output.write_text(whole + "\n" if whole else "", encoding="utf-8")
    for position, line in enumerate(whole.splitlines(), 1):
        try:
            found = json.loads(line)
            found["sglang"], found["cells"], found["settings"], found["failure"]
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"{output}, line {position} is not a search of `triage lab soak`; "
                "give --output a file of its own"
            ) from error
        yield found
