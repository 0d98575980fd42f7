"""By default, in every mode: pages that requests read and the free lists contradict each other."""

from __future__ import annotations

import functools
import json

import pytest

from tests import prepared


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """`played(version, mode)` -> what became of each defect; a process for each question."""
    directory = tmp_path_factory.mktemp("dumps")

    @functools.cache
    def play(version, mode):
        command = ("-m", "tests.sglang.late_audit_child", mode, str(directory))
        done = prepared.python(*command, version=version)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert found.pop("sglang") == version
        assert all(not each["switched off"] for runs in found.values() for each in runs)
        return found

    return play


RELEASES = [
    ("0.5.18", "raise"),
    ("0.5.23", "contain"),
    pytest.param("0.5.14", "raise", marks=pytest.mark.slow),
    pytest.param("0.5.12.post1", "contain", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("version", "mode"), RELEASES)
def test_right_books_are_looked_at_in_every_step_and_nothing_is_said(version, mode, played):
    for each in played(version, mode)["none"]:
        assert each["said"] == ""
        assert each["looks"] > 20


@pytest.mark.parametrize(("version", "mode"), RELEASES)
@pytest.mark.parametrize(
    ("defect", "sentence", "cause"),
    [
        ("freed", "which decodes, and is listed as free", "freed-page"),
        ("twice", "times in the free list", "double-free"),
        ("moved", "which both decode: no common prefix explains it", "page-owned-twice"),
    ],
)
def test_a_page_that_is_freed_under_a_request_or_held_twice_is_logged_steps_later(
    version, mode, defect, sentence, cause, played
):
    for each in played(version, mode)[defect]:
        # THEN the look behind the defect sees it; the pools take turns
        assert sentence in each["said"]
        assert each["late"] <= 4
        assert each["explained"] == cause
