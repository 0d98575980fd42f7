"""By default: what a request gives to a prefix cache is compared with its own numbers (I16)."""

from __future__ import annotations

import json

import pytest

from tests import prepared


@pytest.mark.parametrize(
    ("version", "cache"),
    [("0.5.23", "unified"), pytest.param("0.5.18", "unified", marks=pytest.mark.slow)],
)
def test_each_insert_of_a_request_is_looked_at_and_more_than_is_allocated_is_told(
    version, cache, tmp_path
):
    done = prepared.python(
        "-m", "tests.sglang.cached_window_child", tmp_path, cache, version=version
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    sound, harmed = found[f"{cache}, sound"], found[f"{cache}, harmed"]
    # GIVEN chunked prompts that go into the tree THEN each insert is compared, and nothing is said
    assert sound["inserts"] > 5
    assert sound["said"] == []
    # AND a request that gives more than was allocated for it is told, once
    assert [each for each in harmed["said"] if "are allocated for it" in each]
    assert sound["internal"] == harmed["internal"] == 0
