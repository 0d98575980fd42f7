"""The terminal view of replay verdicts."""

from __future__ import annotations

from rich.text import Text

from triage.dump.sections import Dump
from triage.files.text import console as make_console
from triage.replay.verdict import Outcome, Verdict, records_fault
from triage.report.text import line, say

_STYLES = {
    Outcome.REPRODUCED: "bold red",
    Outcome.DIFFERENT_FAULT: "bold yellow",
    Outcome.NOT_REPRODUCED: "bold green",
    Outcome.CANNOT_RUN: "dim",
}


def print_verdicts(verdicts: list[Verdict], dump: Dump, fix: str) -> None:
    console = make_console(soft_wrap=True)
    recorded = "none"
    if records_fault(dump):
        recorded = f"{dump.fault.invariant or 'a crash or a reported fault'}: {dump.fault.summary}"
    say(console, line(f"recorded fault: {recorded}"))
    if fix:
        say(console, line(f"with fix: {fix}"))
    for verdict in verdicts:
        head = f"{verdict.kernel:<11}"
        if verdict.outcome is Outcome.CANNOT_RUN:
            text = f"{verdict.outcome.value} ({'; '.join(verdict.reasons)})"
            say(console, Text(head) + line(text, style=_STYLES[verdict.outcome]))
            continue
        say(
            console,
            Text.assemble(
                head,
                (verdict.outcome.value, _STYLES[verdict.outcome]),
                f"  (basis: {verdict.basis.value}, exit code {verdict.exit_code})",
            ),
        )
        for reason in verdict.reasons:
            say(console, line(f"{'':<11}{reason}"))
