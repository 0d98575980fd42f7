"""Frees of a step's results wait for the end of their group; what nobody frees is still a leak."""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.invariants.found import Found
from triage.lab import versions


@pytest.mark.parametrize("version", ["", pytest.param("0.5.14", marks=pytest.mark.slow)])
def test_a_request_without_a_prefix_cache_leaks_only_what_its_group_does_not_free(
    tmp_path, version
):
    if version and version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    named = {"version": version} if version else {}
    done = prepared.python("-m", "tests.ledger.groups_child", tmp_path, **named)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    # GIVEN a chunk cache and results that are processed in a free group, as SGLang does
    # THEN a sound run ends without a word, and a page that nobody frees is told
    assert told["sound"] == ["", "", 4]
    assert told["leak"][:2] == ["I7", Found.LEAKED_BY_REQUEST]
