"""What a person said of an answer: right or wrong, and why, in one line.

Whether a cause is named right cannot be told by a matcher. A judgement holds for what was said
when it was made, and for nothing that is said later: `of` has the words it is about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from triage.errors import LabError

RIGHT, PARTLY, UNKNOWN, WRONG = "right", "partly", "unknown", "wrong"
VERDICTS = (RIGHT, PARTLY, UNKNOWN, WRONG)
Row = dict[str, Any]
Judgements = Mapping[str, Mapping[str, str]]


def key_of(row: Row) -> str:
    """By which a judgement finds its row: the name, and for a driver SGLang and the checks."""
    if "driver" in row:
        return f"{row['driver']} {row['sglang']} {row['checks']}"
    return str(row.get("mistake") or row["artefact"])


def said_by(row: Row) -> str:
    """What a judgement of `row` is about, "" where there is nothing to judge."""
    if "driver" in row:
        return f"{', '.join(row['named'])} ({row['confidence']})" if row["named"] else ""
    if "mistake" in row:
        return ", ".join(row["caught_by"])
    return hashlib.sha256(row["answer"].encode()).hexdigest()[:12] if row["answer"] else ""


def read(file: Path) -> Judgements:
    """Raises LabError for a file that holds anything else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabError(f"{file} holds no judgements: {error}") from error
    for key, each in found.items():
        if not isinstance(each, dict) or each.get("verdict") not in VERDICTS:
            raise LabError(f"{file}: {key!r} needs a verdict, one of {', '.join(VERDICTS)}")
        if not each.get("why") or "of" not in each:
            raise LabError(f"{file}: {key!r} needs `why`, in one line, and `of`, what was said")
    judgements: Judgements = found
    return judgements


def judged(rows: Iterable[Row], judgements: Judgements) -> list[Row]:
    """`rows`, each with `verdict` and `verdict_why`; "" where nobody has judged what it says."""
    found = []
    for row in rows:
        said, given = said_by(row), judgements.get(key_of(row), {})
        holds = given.get("of") == said
        verdict = str(given["verdict"]) if holds else ""
        if "driver" in row and not said:
            verdict = UNKNOWN if row["alarm"] else ""
        found.append({**row, "verdict": verdict, "verdict_why": str(given["why"]) if holds else ""})
    return found


def form(rows: Iterable[Row]) -> str:
    """The file of judgements to fill in: what was said and expected; verdict and why to write."""
    asked = {
        key_of(row): {"of": said_by(row), "verdict": "", "why": "", "expected": row["expected"]}
        for row in rows
        if said_by(row)
    }
    return json.dumps(asked, indent=1, ensure_ascii=False) + "\n"
