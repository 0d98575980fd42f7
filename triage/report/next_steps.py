"""What to do about a dump: what each fix would do to its launch, and the commands to go on."""

from __future__ import annotations

import shlex
from typing import Any

from triage.dump.sections import Dump
from triage.errors import ReplayError
from triage.explain import Explanation
from triage.replay.deduction import deduce
from triage.replay.fixes import FIXES
from triage.replay.verdict import Outcome


def fixes(dump: Dump) -> list[dict[str, Any]]:
    """What each fix does to the launch, the launch as it is recorded first."""
    if dump.launch is None or dump.tables is None:
        return []
    found = []
    for name in ("", *FIXES):
        try:
            verdict = deduce(dump, name)
        except ReplayError as error:
            unknown = dict.fromkeys(("wrong", "outside", "changed", "visible"))
            found.append({"fix": name, "outcome": "CANNOT_RUN", "reasons": [str(error)], **unknown})
            continue
        figures = verdict.figures
        identity, footprint = figures["identity"], figures["footprint"]
        redirected = figures.get("redirected", {})
        found.append(
            {
                "fix": name,
                "outcome": verdict.outcome.value,
                "reasons": list(verdict.reasons),
                "wrong": identity["wrong"] if identity["known"] else None,
                "outside": sum(footprint["bad"]["must"].values()),
                "changed": redirected.get("entries"),
                "visible": footprint["read"]["must"],
            }
        )
    return found


def _fails_again(dump: Dump) -> bool:
    """Does the launch fail by what the dump holds of it?"""
    try:
        return deduce(dump).outcome in (Outcome.REPRODUCED, Outcome.DIFFERENT_FAULT)
    except ReplayError:
        return False


def commands(path: str, dump: Dump, explanation: Explanation) -> list[dict[str, str]]:
    """The commands to go on with, the most useful first, each with what it is for."""
    file = shlex.quote(path)
    steps = [
        {"command": f"triage explain {file}", "what": "the evidence, and what would refute it"}
    ]
    if dump.launch is not None and dump.tables is not None:
        steps.append({"command": f"triage replay {file}", "what": "run the launch again"})
        if any("state-swap" in cause.fix for cause in explanation.named):
            fixed = f"triage replay {file} --fix state-swap"
            steps.append({"command": fixed, "what": "the same with the fix"})
        if _fails_again(dump):  # neither of the two has anything to keep otherwise
            steps.append(
                {"command": f"triage minimise {file} -o small.msgpack", "what": "the smallest dump"}
            )
            steps.append(
                {
                    "command": f"triage export {file} --as pytest -o test_regression.py",
                    "what": "a regression test of it",
                }
            )
    if dump.history:
        steps.append(
            {"command": f"triage show {file} --history", "what": "the flight recorder's launches"}
        )
    steps.append(
        {"command": f"triage redact {file} -o redacted.msgpack", "what": "before you hand it over"}
    )
    return steps
