"""A sound server says nothing at its start, whatever its draft, mode and release."""

from __future__ import annotations

import json

import pytest

from tests import prepared

RELEASES = ("0.5.12.post1", "0.5.13.post1", "0.5.14", "0.5.15.post1", "0.5.18", "0.5.23")
OWN_DEFECT = {"0.5.12.post1": "trtllm_mha smoke-eagle"}
"""What a release itself does wrong at a start (sgl-project/sglang#27491), and is told."""


def started(directory, release, *arguments):
    done = prepared.python(
        "-m", "tests.sglang.sound_start_child", directory, *arguments, version=release
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def unsaid(start) -> bool:
    return not any(start["told"].values())


@pytest.mark.parametrize(
    ("release", "mode"),
    [
        pytest.param(
            release,
            mode,
            marks=() if (release, mode) == ("0.5.18", "contain") else pytest.mark.slow,
        )
        for release in RELEASES
        for mode in ("raise", "contain", "log")
    ],
)
def test_a_sound_start_is_silent(tmp_path, release, mode):
    # GIVEN the default checks, and backends of drafts that are built before their pool is lent
    answer = started(tmp_path, release, mode)
    # WHEN they are built and serve, THEN no dump is written, nothing is logged or raised
    told = {name: each["told"] for name, each in answer["starts"].items() if not unsaid(each)}
    assert list(told) == [OWN_DEFECT[release]] if release in OWN_DEFECT else not told
    assert answer["errors"] == 0
    assert all(each["launches"] > 50 for each in answer["starts"].values())


@pytest.mark.parametrize(
    ("release", "mode"),
    [
        pytest.param(
            release, mode, marks=() if (release, mode) == ("0.5.18", "raise") else pytest.mark.slow
        )
        for release in RELEASES
        for mode in ("raise", "contain")
    ],
)
def test_nothing_is_told_where_the_fix_moves_the_state(tmp_path, release, mode):
    # GIVEN the defect that a frozen draft's state is not the lent pool's, and the fix for it
    answer = started(tmp_path, release, mode, "state-swap", "stale-swa-state")
    # THEN the fix had something to do, and neither construction nor launches are told
    (start,) = answer["starts"].values()
    assert answer["uses"]["state-swap"] > 0
    assert unsaid(start), start["told"]
