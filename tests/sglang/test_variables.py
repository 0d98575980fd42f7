"""Variables whose default depends on another, and names that stand for several."""

from __future__ import annotations

import pytest

from triage.config import CHECKS, MODE, PAGE_HISTORY, WITNESS, from_environment, invariants_of
from triage.errors import ConfigError
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


@pytest.mark.parametrize(
    ("asked", "steps"), [({}, 0), ({WITNESS: "0"}, 0), ({WITNESS: "100"}, 100)]
)
def test_the_witness_is_off_unless_it_is_told_how_often(asked, steps):
    assert from_environment(asked).witness == steps


@pytest.mark.parametrize("bad", ["-1", "often", "1.5"])
def test_a_witness_that_is_no_number_of_steps_is_refused_by_name(bad):
    with pytest.raises(ConfigError, match=f"{WITNESS}='{bad}' is not a whole number of at least 0"):
        from_environment({WITNESS: bad})


def test_all_checks_are_every_family():
    asked = from_environment({CHECKS: "all"}).checks
    assert invariants_of(asked) == {row.name for row in CATALOGUE}
    assert from_environment({CHECKS: "all,I1"}).checks == asked
