"""By default, in every mode: pages that requests read and the free lists contradict each other."""

from __future__ import annotations

import functools
import json

import pytest

from tests import prepared
from tests.sglang.locked_prefix_child import FREE, MOVED


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


SENTENCES = {FREE: "and is listed as free", MOVED: "no common prefix explains it"}


@pytest.mark.parametrize(
    ("version", "seeds", "harmed"),
    [
        ("0.5.14", 1, 2),
        pytest.param("0.5.14", 5, 6, marks=pytest.mark.slow),
        pytest.param("0.5.15.post1", 5, 0, marks=pytest.mark.slow),
    ],
)
def test_a_prefix_that_is_revived_under_its_reader_is_told_where_it_is_so_and_nowhere_else(
    version, seeds, harmed, tmp_path
):
    # GIVEN loads with shared prefixes and few SWA pages, in host order and under overlap
    child = ("-m", "tests.sglang.locked_prefix_child", tmp_path, seeds)
    done = prepared.python(*child, version=version, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # THEN the release's own defect shows in some, by an oracle that knows nothing of the checks
    assert sum(bool(each["wrong"]) for each in found["as released"]) == harmed
    for runs in found.values():
        for each in runs:
            # AND what is logged is what was wrong at some step
            for sentence in each["said"]:
                assert any(SENTENCES[kind] in sentence for kind in each["wrong"]), each
            assert bool(each["said"]) == bool(each["wrong"]), each
    # AND with the fix nothing is wrong, and nothing is said
    assert all(not each["wrong"] for each in found.get("with the fix", ()))
    assert ("with the fix" in found) == bool(harmed)


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
