"""Rejected drafts in the last page of a request that ends: what of the page stays mapped?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import prepared
from triage.lab import versions

BY_TOKEN = ("0.5.13.post1", pytest.param("0.5.12.post1", marks=pytest.mark.slow))


@pytest.mark.parametrize("version", BY_TOKEN)
def test_rejected_tokens_outlive_their_page_where_pages_hold_more_than_one(version, tmp_path):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    # GIVEN the verifications of frozen-KV MTP and ngram that accept one token of four, whose
    # requests end then, over a radix tree and over none
    done = prepared.python("-m", "tests.sglang.rejected_tail_child", tmp_path, version=version)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 16
    for story, ended in found.items():
        # THEN the request is over and its last page free: what was rejected is nobody's
        assert ended["allocated"] == ended["committed"] and ended["page free"], story
        # AND with larger pages the three rejected slots are mapped to an SWA page that is free
        as_released = story.endswith("16 released")
        assert ended["mapped"] == (3 if as_released else 0), story
        # AND only every check sees it, in the call, under its name
        assert ended["alarm"] == (["I6", "stale-mapping"] if as_released else None), story
        assert ended["alarm by default"] is None, story
