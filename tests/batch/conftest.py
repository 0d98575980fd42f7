"""What the tests of the batch share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.folder import dump, fill


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two dumps of one failure, one of another, and one in which nothing is wrong."""
    return fill(
        tmp_path / "dumps",
        stale=dump(),
        stale_later=dump(time="2026-11-21T10:00:00+0000"),
        slots=dump("page starts"),
        right=dump("right"),
    )
