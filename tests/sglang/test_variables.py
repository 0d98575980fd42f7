"""Variables whose default depends on another, and names that stand for several."""

from __future__ import annotations

import pytest

from triage.config import CHECKS, MODE, PAGE_HISTORY, from_environment, invariants_of
from triage.invariants.catalogue import CATALOGUE


@pytest.mark.parametrize(
    ("mode", "asked", "noted"),
    [
        ("raise", None, True),
        ("contain", None, False),
        ("log", None, False),
        ("raise", "0", False),
        ("contain", "1", True),
    ],
)
def test_page_histories_are_on_in_raise_and_a_switch_elsewhere(mode, asked, noted):
    given = {MODE: mode} | ({} if asked is None else {PAGE_HISTORY: asked})
    assert from_environment(given).page_history is noted


def test_all_checks_are_every_family():
    asked = from_environment({CHECKS: "all"}).checks
    assert invariants_of(asked) == {row.name for row in CATALOGUE}
    assert from_environment({CHECKS: "all,I1"}).checks == asked
