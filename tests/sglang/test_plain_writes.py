"""Writes to a pool of one kind: a target's or a draft's own, by its method or by a fused store."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import prepared
from triage.lab import versions

VERSIONS = ("0.5.18", "0.5.23", pytest.param("0.5.12.post1", marks=pytest.mark.slow))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_slot_past_the_pool_is_told_before_it_is_written_and_sound_writes_are_silent(
    version, tmp_path
):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    done = prepared.python("-m", "tests.sglang.plain_writes_child", tmp_path, version=version)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    # GIVEN a plain pool under each backend, one of fp8, a store of a model's own and an EAGLE
    # draft with its own pool
    stories = ("trtllm_mha", "triton", "fa3", "flashinfer", "fp8", "fused", "draft")
    for story in stories:
        played = found[story]
        # WHEN slots lie in the pool, or in its dummy page THEN they are written
        assert (played["sound"], played["padded"]) == ("wrote", "wrote"), story
        # AND the first slot behind the pool is told before the write, and the last of it is not
        pool = "draft full" if story == "draft" else "full"
        assert "out_cache_loc[1, 0] = 400 is outside [16, 400)" in played["past"], story
        assert played["past"].endswith(f"| pool {pool}"), story
    # AND such writes are not said to be left out any more
    assert [found[story]["not covered"] for story in stories[:4]] == ["", "", "", ""]
    # AND what a hybrid pool writes is looked at once, at its own class
    assert found["hybrid is hooked at its class alone"]
    # AND all is as before once the traps are taken out
    assert found["removed"] == [True, True, True]
