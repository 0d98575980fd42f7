"""An insert that a tree declines leaves its tokens with the request, which is no alarm (I16)."""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.invariants.found import Found


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("taken", []),
        ("declined", []),
        ("taken, not protected", [Found.INSERTED_NOT_MATCHED]),
    ],
)
def test_what_is_cached_and_not_protected_is_told_where_the_tree_took_it(how, told, plays):
    assert plays[how]["declined"] == [how == "declined"]
    assert plays[how]["told"] == told


@pytest.fixture(scope="module")
def plays():
    done = prepared.python("-m", "tests.sglang.declined_insert_child", version="0.5.23")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
