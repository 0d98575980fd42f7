"""A captured graph's inputs: filled by SGLang, padded as it pads them, judged by I10."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared
from triage.lab import versions

CHILD = Path(__file__).with_name("graph_child.py")


def played(version: str, directory: Path) -> dict[str, list[object]]:
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    done = prepared.python(CHILD, directory, version=version)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_padding_is_inert_and_metadata_is_of_this_batch(tmp_path):
    # GIVEN a batch of four and then one of three, in a graph of four rows
    seen = played("0.5.18", tmp_path)
    assert seen["rows"] == [4, 3, 4]
    # THEN the padded row is nobody's, writes slot 0 and has the fill length
    assert seen["requests"][3] == 0 and seen["slots"][3] == 0
    assert seen["lengths"] == [*seen["expected"], 1]
    # AND the invariant is silent
    assert seen["violations"] == seen["tokens"] == []


def test_a_padded_row_that_keeps_the_last_request_is_seen(tmp_path):
    # GIVEN the release whose fill leaves request rows of the batch before
    seen = played("0.5.12.post1", tmp_path)
    assert seen["requests"][3] != 0
    # THEN I10 names the row, though its slot and length are inert
    assert "I10 req_pool_indices" in seen["violations"]
    assert seen["slots"][3] == 0 and seen["tokens"] == []
