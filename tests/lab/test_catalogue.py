"""The bug catalogue: complete enough, documented, and caught where it is played."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared
from triage.invariants import catalogue
from triage.lab.bugs import CATALOGUE
from triage.lab.bugs.released import margin_without_a_tree
from triage.report import matrix

MATRIX_RELEASES = ("0.5.12.post1", "0.5.23")
"""The oldest and the newest; the fix of the newest and most live defects of the oldest."""


def test_there_are_more_than_twenty_bugs_each_with_a_reference_and_an_invariant():
    assert len(CATALOGUE) >= 20
    for bug in CATALOGUE.values():
        assert bug.reference and bug.what and bug.invariants, bug.name
    assert sum(bug.released for bug in CATALOGUE.values()) >= 8


def test_every_invariant_that_is_checked_has_a_bug():
    covered = {name for bug in CATALOGUE.values() for name in bug.invariants}
    # Every invariant has a bug that it answers first or second, or says where it is shown to fire.
    known = {row.name for row in catalogue.CATALOGUE}
    assert known - covered == {row.name for row in catalogue.CATALOGUE if row.shown_apart}


LATE = {"last-page-left-behind-older-tree": 6, "leak-at-finish": 2}
"""Whose books are those of the step before: the next one is queued when they are looked at; what a
request left behind is known when the free group of its step has ended."""


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ("threshold = pre_len - sliding_window_size - page_size", True),
        ("if drop_page_margin: ... else: pre_len - sliding_window_size - page_size", False),
        ("if is_chunk_cache: ... else: pre_len - sliding_window_size - page_size", False),
        ("if not supports_prefix_sharing: ... pre_len - ceil_align(window)", False),
    ],
    ids=["always", "0.5.14", "0.5.15 to 0.5.18", "0.5.23"],
)
def test_a_margin_that_radix_off_drops_is_no_margin_in_the_lab(text: str, keeps: bool):
    assert margin_without_a_tree(text) is keeps


@pytest.mark.slow
@pytest.mark.parametrize("release", MATRIX_RELEASES)
def test_the_whole_catalogue_is_caught_at_once_and_named(release: str, tmp_path: Path):
    # GIVEN every bug that the release has or can be given, seen by an oracle without traps
    command = ("-m", "triage", "lab", "matrix", "--sglang", release, "--json")
    done = prepared.python(*command, "--dir", tmp_path, version=release, timeout=1200)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    played = [
        line
        for line in json.loads(done.stdout.splitlines()[-1])["rows"]
        if not line["not_applicable"]
    ]
    assert len(played) > 25
    # THEN each is caught by its invariant within one launch or allocator call, and explained
    # right or not at all; without it the same workload is silent
    for line in played:
        assert line["untrapped"] not in ("clean", ""), line
        assert line["caught"], line
        assert line["delay"] is None or line["delay"] <= LATE.get(line["bug"], 1), line
        assert line["explained"] in ("right", "unknown"), line
        assert line["false_alarm"] == "", line
    right = sum(line["explained"] == "right" for line in played)
    assert right >= 0.9 * len(played)
    # AND bounds alone miss what is in range
    assert sum(bool(line["bounds"]) for line in played) < len(played) / 2


def line(**changed: object) -> dict[str, object]:
    made: dict[str, object] = {
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
    return {**made, **changed}


@pytest.mark.slow
def test_what_the_soak_found_in_the_installed_release_is_caught(tmp_path: Path):
    command = ("-m", "triage", "lab", "bugs", "leaf-shorter-than-the-window", "--json")
    done = prepared.python(*command, "--dir", tmp_path)
    (line,) = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert (line["caught_by"], line["explained"], line["named"]) == (
        "I16",
        "right",
        "page-owned-twice",
    )


def test_the_page_of_the_matrix_escapes_and_counts():
    page = matrix.html([line()])
    assert "a&lt;b" in page and "x &amp; y" in page and "1 of 1 caught" in page


def test_a_bug_has_one_row_with_a_column_for_each_release():
    # GIVEN a bug that one release does not have, one catches late, one misses
    lines = [
        line(sglang="0.5.12.post1", not_applicable="fixed"),
        line(sglang="0.5.18", delay=3, bounds="I1", false_alarm="I4"),
        line(sglang="0.5.23", caught=False, caught_by="", explained="wrong"),
    ]
    # THEN the row says each, and the sums say where the releases differ
    head, _, row = matrix.markdown(lines).splitlines()
    assert head.startswith("| bug | 0.5.12.post1 | 0.5.18 | 0.5.23 |")
    assert row == (
        "| a<b | - | I2 +3 | MISSED (silent) | I1 1x, silent 1x | right 1x, wrong 1x "
        "| clean | I4 1x, none 1x |"
    )
    assert "1 of 2 caught, 1 later" in matrix.summary(lines)
    assert "explained right 1, wrong 1; 1 false alarms" in matrix.summary(lines)
