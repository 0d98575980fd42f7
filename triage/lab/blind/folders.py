"""What sets of kernel mistakes and of texts share: a folder each, one row for each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from triage.errors import LabError

Progress = Callable[[int, int], None]
UNREADABLE = (OSError, ValueError, KeyError, LabError)
"""What a folder that does not hold what it must comes to; it is its row's `why`."""


def folders_of(path: Path, about: str, kind: str) -> list[Path]:
    """The folders of `path` that hold a file `about`, by name. Raises LabError if none does."""
    found = sorted(each.parent for each in path.glob(f"*/{about}"))
    if not found:
        raise LabError(f"{path} holds no {kind}: a folder each, with {about}")
    return found


def rows_of(
    folders: list[Path], row: Callable[[Path], dict[str, Any]], progress: Progress
) -> list[dict[str, Any]]:
    """`row` of each of them, in order."""
    rows = []
    for number, folder in enumerate(folders):
        rows.append(row(folder))
        progress(number + 1, len(folders))
    return rows
