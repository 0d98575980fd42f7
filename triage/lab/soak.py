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
from triage.lab.combinations import Combination

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
    seconds: float = 0.0
    cells: Counter[tuple[str, Combination]] = field(default_factory=Counter)
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
        failure = line["failure"]
        if failure is not None:
            found = {"sglang": line["sglang"], "number": line["number"], **failure}
            (self.alarms if failure["oracle"] == "silent" else self.findings).append(found)

    def table(self) -> list[tuple[str, str, int, str, int]]:
        """(release, draft, page size, radix, steps), each combination once."""
        rows: Counter[tuple[str, str, int, str]] = Counter()
        for (version, cell), steps in self.cells.items():
            rows[version, cell.draft, cell.page, cell.radix] += steps
        return sorted((*row, steps) for row, steps in rows.items())

    def json(self) -> dict[str, Any]:
        totals = {name: getattr(self, name) for name in ("searches", *_COUNTED)}
        return {
            **totals,
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
        if failure is None and mode == "raise" and tally.ledger_audits < 2 * played:
            raise LabError(
                f"search {number}: {tally.ledger_audits} audits of the ledger in {played} steps; "
                "both free lists are to be compared after every step"
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
            "cells": [[*cell, count] for cell, count in sorted(tally.steps.items())],
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


def lines_of(output: Path | None) -> Iterator[dict[str, Any]]:
    """The searches written so far. A last line cut short by an interruption is dropped."""
    if output is None or not output.exists():
        return
    text = output.read_text(encoding="utf-8")
    whole, _, torn = text.rpartition("\n")
    if torn:
        output.write_text(whole + "\n" if whole else "", encoding="utf-8")
    for position, line in enumerate(whole.splitlines(), 1):
        try:
            found = json.loads(line)
            found["sglang"], found["cells"], found["failure"]
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"{output}, line {position} is not a search of `triage lab soak`; "
                "give --output a file of its own"
            ) from error
        yield found
