"""The bug catalogue: complete enough, documented, and caught where it is played."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from triage.config import INVARIANTS_OF, NOT_CHECKED
from triage.lab.bugs import CATALOGUE
from triage.report import matrix

PLAYED = (
    "failed-decode-keeps-pages",
    "table-row-overrun",
    "stale-metadata",
    "leak-at-finish",
    "row-released-twice",
    "metadata-of-another-forward",
    "budget-in-bare-tokens",
    "swa-freed-under-a-live-node",
)


def test_there_are_more_than_twenty_bugs_each_with_a_reference_and_an_invariant():
    assert len(CATALOGUE) >= 20
    for bug in CATALOGUE.values():
        assert bug.reference and bug.what and bug.invariants, bug.name
    assert sum(bug.released for bug in CATALOGUE.values()) >= 8


def test_every_invariant_that_is_checked_has_a_bug():
    covered = {name for bug in CATALOGUE.values() for name in bug.invariants}
    # Every invariant but I18, which no hook can see, has a bug that it answers first or second.
    known = {name for names in INVARIANTS_OF.values() for name in names}
    assert known - covered == set(NOT_CHECKED)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """These bugs played in one process of their own: SGLang's hooks stay bound."""
    directory = tmp_path_factory.mktemp("dumps")
    command = [sys.executable, "-m", "triage", "lab", "bugs", *PLAYED, "--json"]
    done = subprocess.run(
        [*command, "--dir", str(directory)], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {line["bug"]: line for line in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("name", PLAYED)
def test_a_bug_is_caught_at_once_and_named(lines, name):
    line = lines[name]
    # GIVEN a bug that an oracle of the lab saw without any trap
    assert line["untrapped"] not in ("clean", "")
    # THEN the right invariant answers within one launch or allocator call
    assert line["caught"], line
    assert line["delay"] is not None and line["delay"] <= 1
    # AND explain names its class, and the workload without it is silent
    assert line["explained"] == "right", line["named"]
    assert line["false_alarm"] == ""


def test_bounds_alone_miss_what_is_in_range(lines):
    assert lines["stale-metadata"]["bounds"] == ""
    assert lines["failed-decode-keeps-pages"]["bounds"] == ""


def test_the_page_of_the_matrix_escapes_and_counts(tmp_path: Path):
    line = {
        "bug": "a<b",
        "what": "x & y",
        "reference": "https://example.org/1",
        "released": False,
        "sglang": "0.5.18",
        "not_applicable": "",
        "caught_by": "I2",
        "caught": True,
        "delay": 0,
        "bounds": "",
        "explained": "right",
        "fixed": "clean",
        "false_alarm": "",
    }
    page = matrix.html([line])
    assert "a&lt;b" in page and "x &amp; y" in page and "1 of 1 caught" in page
    assert matrix.markdown([line]).splitlines()[-1].startswith("| a<b | 0.5.18 | I2 | 0 |")
