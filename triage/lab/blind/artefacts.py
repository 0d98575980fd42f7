"""A folder of what people paste, each held to what a good answer of `triage explain` holds.

NAME/expected.json says which phrases an answer must hold and which would be wrong claims. What
a matcher cannot tell, whether the words answer the question, is a person's to judge.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from triage.errors import LabError
from triage.lab.blind.folders import UNREADABLE, Progress, folders_of, rows_of

ABOUT = "expected.json"
RECOGNISED, NOT_RECOGNISED, BROKEN = "recognised", "not recognised", "driver broken"
UNKNOWN = ("nothing in it is known here",)
SECONDS = 120
_SEPARATED = re.compile(r"(?<=\d),(?=\d{3}\b)")


@dataclass(slots=True)
class Line:
    """One text. lacks: groups of phrases of which the answer holds none. claims: wrong ones."""

    artefact: str
    form: str = ""
    reference: str = ""
    expected: str = ""
    result: str = BROKEN
    why: str = ""
    lacks: list[str] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    answer: str = ""

    def json(self) -> dict[str, Any]:
        return asdict(self)


def play(path: Path, progress: Progress = lambda done, total: None) -> list[dict[str, Any]]:
    """A row for each artefact, as a user would see the answer: the text that is printed.

    Raises LabError where there is none.
    """
    folders = folders_of(path, ABOUT, "artefact")
    return rows_of(folders, lambda folder: _line(folder).json(), progress)


def _line(folder: Path) -> Line:
    line = Line(artefact=folder.name)
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        line.form, line.reference = str(about["form"]), str(about.get("source", ""))
        line.expected = str(about["sentence"])
        line.answer = _explained(folder / str(about["input"]))
    except UNREADABLE as error:
        line.why = f"{type(error).__name__}: {error}"
        return line
    folded = _folded(line.answer)
    groups = [[each] if isinstance(each, str) else each for each in about.get("must_contain", ())]
    line.lacks = [" / ".join(group) for group in groups if not _holds(folded, group)]
    line.claims = [each for each in about.get("must_not_claim", ()) if _folded(each) in folded]
    line.result = NOT_RECOGNISED if _holds(folded, UNKNOWN) else RECOGNISED
    return line


def _explained(given: Path) -> str:
    """What `triage explain` prints. Raises LabError where it cannot read it."""
    if not given.exists():
        raise LabError(f"{given} is not there")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "triage", "explain", given.name],
            cwd=given.parent,
            env=None,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"triage explain took more than {SECONDS} s") from None
    if "Traceback" in done.stderr:
        raise LabError(f"triage explain ended with a traceback: {done.stderr[-400:]}")
    return done.stdout + done.stderr


def _folded(text: str) -> str:
    """Lower case, single blanks, numbers without separators: how phrases are compared."""
    return _SEPARATED.sub("", " ".join(text.lower().split()))


def _holds(folded: str, phrases: Iterable[str]) -> bool:
    return any(_folded(each) in folded for each in phrases)
