"""By default, in every mode: pages that requests read and the free lists contradict each other."""

from __future__ import annotations

import json

import pytest

from tests import prepared


def played(version, mode, defect, directory):
    command = ("-m", "tests.sglang.late_audit_child", mode, directory, defect)
    done = prepared.python(*command, version=version)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["sglang"] == version
    for each in found["played"]:
        assert each["switched off"] == {}
    return found["played"]


RELEASES = [
    ("0.5.18", "raise"),
    ("0.5.23", "contain"),
    pytest.param("0.5.14", "raise", marks=pytest.mark.slow),
    pytest.param("0.5.12.post1", "contain", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("version", "mode"), RELEASES)
def test_right_books_are_looked_at_in_every_step_and_nothing_is_said(version, mode, tmp_path):
    for each in played(version, mode, "none", tmp_path):
        assert each["raised"] == ""
        assert each["looks"] > 20


@pytest.mark.parametrize(("version", "mode"), RELEASES)
@pytest.mark.parametrize(
    ("defect", "sentence", "cause"),
    [
        ("freed", "which decodes, and is listed as free", "freed-page"),
        ("twice", "times in the free list", "double-free"),
    ],
)
def test_a_page_freed_under_a_request_or_twice_is_told_steps_later(
    version, mode, defect, sentence, cause, tmp_path
):
    for each in played(version, mode, defect, tmp_path):
        # THEN the look behind the defect sees it; the pools take turns
        assert sentence in each["raised"]
        assert each["late"] <= 4
        assert each["explained"] == cause
