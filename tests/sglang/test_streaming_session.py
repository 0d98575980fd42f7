"""A streaming session keeps rows, pages and a lock between its turns: nothing is balanced then."""

from __future__ import annotations

import json

import pytest

from tests import prepared


@pytest.mark.parametrize(
    "version", [pytest.param("0.5.15.post1", marks=pytest.mark.slow), "0.5.18", "0.5.23"]
)
def test_a_session_of_a_unified_tree_holds_pages_and_its_turn_is_not_compared(version):
    # GIVEN a unified tree, then with a session whose second turn runs on the session's own node
    done = prepared.python("-m", "tests.sglang.streaming_session_child", version=version)
    assert done.returncode == 0, done.stderr
    played = json.loads(done.stdout.splitlines()[-1])
    # THEN requests and the tree are the only holders without it alone
    assert (played["without"], played["with"]) == (True, False)
    # AND the turn is cached by SGLang, with nothing said and no error of ours
    assert (played["caching"], played["told"]) == ("cached", [])
