"""I19 when a server starts, on SGLang's own pools: what is too small is told, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared
from triage.dump.file import read_dump
from triage.explain import explain

RELEASES = [
    pytest.param(release, marks=() if release == "0.5.18" else pytest.mark.slow)
    for release in ("0.5.12.post1", "0.5.14", "0.5.18", "0.5.23")
]


@pytest.fixture(scope="module", params=RELEASES)
def started(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("starts")
    done = prepared.python("-m", "tests.sglang.start_child", directory, version=request.param)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_start_whose_pools_are_large_enough_is_silent(started):
    sound = {name: each for name, each in started.items() if name.startswith("sound")}
    assert len(sound) == 7
    assert {name: each for name, each in sound.items() if each["told"] or each["errors"]} == {}


@pytest.mark.parametrize(
    ("start", "words", "cause"),
    [
        ("draft pool sized before the split", "336 rows", "draft-pool-too-small"),
        ("the same, of a worker in a worker", "336 rows", "draft-pool-too-small"),
        ("draft pool a page short", "640 rows", "draft-pool-too-small"),
        ("SWA side below window and page", "48 slots", "swa-pool-too-small"),
        ("SWA side at the floor", "64 slots", "swa-pool-too-small"),
    ],
)
def test_a_pool_that_is_too_small_is_told_before_the_first_request_and_named(
    started, start, words, cause
):
    seen = started[start]
    assert seen["told"][0] == "I19" and words in seen["told"][1]
    (named,) = explain(read_dump(Path(seen["dump"]))).named
    assert (named.key, named.confidence.name) == (cause, "HIGH")
