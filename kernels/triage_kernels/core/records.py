"""Results files: a JSON line per record, so that a run that is cut short keeps what it has."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Records of a results file, [] where there is none. A torn last line is dropped."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def append_line(path: Path, record: object) -> None:
    """Add one record (a dataclass) to a results file, on disk when this returns."""
    with path.open("a") as handle:
        handle.write(json.dumps(asdict(record)) + "\n")  # type: ignore[call-overload]
        handle.flush()
