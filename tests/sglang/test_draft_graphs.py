"""I29 on SGLang's own draft runners: what their graphs are replayed with, release by release."""

from __future__ import annotations

import functools
import json

import pytest

from tests import prepared

KINDS = ("draft", "extend", "frozen")
OLDEST = "0.5.12.post1"
PADS_WITH_REQUESTS = {OLDEST: ("extend", "frozen")}
"""Where a release leaves the request rows of padding as they were; mended in 0.5.13.post1."""

RELEASES = [
    pytest.param(release, marks=() if release == "0.5.18" else pytest.mark.slow)
    for release in (OLDEST, "0.5.13.post1", "0.5.14", "0.5.15.post1", "0.5.18", "0.5.23")
]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    directory = tmp_path_factory.mktemp("drafts")

    @functools.cache
    def child(version):
        command = ("-m", "tests.sglang.draft_graph_child", directory, 60)
        done = prepared.python(*command, version=version)
        assert done.returncode == 0, done.stderr[-2000:]
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["sglang"] == version
        return found

    return child


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("release", RELEASES)
def test_drawn_replays_are_judged_and_silent_but_for_what_the_release_leaves(played, release, kind):
    found = played(release)["replays"][kind]
    if kind in PADS_WITH_REQUESTS.get(release, ()):
        # GIVEN a release that pads with the requests of before, THEN it is told
        assert "req_pool_indices" in found["alarm"], found["alarm"]
        return
    assert found["alarm"] == ""
    # AND each was judged, but for the one inside a capture, in which nothing is read
    assert found["counts"]["draft replays"] == 60
    assert "internal errors" not in found["counts"]


@pytest.mark.parametrize("release", RELEASES)
def test_each_defect_of_a_drafts_buffers_is_caught_and_named(played, release):
    bugs = played(release)["bugs"]
    assert len(bugs) >= 2
    for name, bug in bugs.items():
        assert bug["seen"]["alarm"] == "I29", (name, bug)
        assert bug["explained"][0] == "right", (name, bug)


@pytest.mark.parametrize("release", RELEASES)
def test_a_tensor_that_the_filter_forgets_is_named_between_two_steps(played, release):
    said = played(release)["speculation"]
    # GIVEN SGLang's own filter and merge, THEN nothing; with a tensor left out, its name
    assert said[""] == ""
    assert "hidden_states" in said["hidden_states"] and "I29" in said["hidden_states"]


@pytest.mark.parametrize("release", RELEASES)
def test_a_sum_of_lengths_that_leaves_padded_rows_out_is_told_and_no_other(played, release):
    sums = played(release)["sums"]
    # GIVEN slots packed for a padded batch, WHEN the sum counts every row or more, THEN nothing
    silent = {"raised": "", "told": {}}
    assert sums["whole"] == sums["larger"] == silent
    # WHEN it is one short, THEN it is raised where I29 is asked for, and else logged once
    assert "seq_lens_sum is 75, the lengths of the 4 rows sum up to 76" in sums["short"]["raised"]
    assert sums["short, by default"] == {"raised": "", "told": {"I29": 1}}
