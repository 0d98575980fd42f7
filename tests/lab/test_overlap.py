"""A step is queued before the last result is looked at: silent on a healthy server, loud on a bug.

SGLang's own ScheduleBatch, allocator and prefix caches, and the drafts; what they free lands
inside the queued forward (`overlap_child.py`).
"""

from __future__ import annotations

import json

import pytest

from tests import prepared

PLAYED = [
    ("0.5.14", "contain"),
    *(
        pytest.param(("0.5.18", mode), marks=pytest.mark.slow)
        for mode in ("contain", "log", "raise")
    ),
]


@pytest.fixture(scope="module", params=PLAYED, ids=" ".join)
def played(request, tmp_path_factory):
    version, mode = request.param
    command = ("-m", "tests.lab.overlap_child", mode, tmp_path_factory.mktemp("d"))
    done = prepared.python(*command, version=version)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["sglang"] == version
    return mode, found


def test_rows_that_end_or_are_rewritten_while_their_step_is_queued_are_no_alarm(played):
    mode, found = played
    moved = 0
    for name, run in found["healthy"].items():
        if "left out" in run:
            continue
        assert run["error"] == "" and run["violations"] == 0, name
        assert run["oracle"] is None and run["steps"] > 10, name
        moved += run["moved"]
    # THEN there were such rows, and the device checker saw them: none where the host waits
    assert (moved > 0) == (mode != "raise")


@pytest.mark.parametrize("bug", ["frees_a_row_that_is_planned", "frees_a_page_under_a_request"])
def test_a_use_after_free_at_the_same_place_is_caught(played, bug):
    mode, found = played
    run = found["bugs"][bug]
    # THEN the lab's oracle, which shares nothing with the checks, agrees
    assert run["violations"] > 0
    if mode == "log":
        assert run["error"] == "" and run["oracle"] is not None
        return
    assert run["error"][:2] in ("I1", "I2", "I3", "I4", "I5", "I6")
    assert run["oracle"] is not None or mode == "raise"
