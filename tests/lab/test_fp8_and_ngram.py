"""fp8 caches and ngram drafts: silent where they are sound, told where a slot is not the row's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import prepared
from triage.lab import versions

VERSIONS = (
    "0.5.18",
    *(pytest.param(each, marks=pytest.mark.slow) for each in ("0.5.14", "0.5.23")),
)


@pytest.mark.parametrize("version", VERSIONS)
def test_they_are_looked_at_as_any_other_cache_and_verification(version, tmp_path):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    done = prepared.python("-m", "tests.lab.fp8_and_ngram_child", tmp_path, version=version)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    # GIVEN an fp8 cache under each backend, trtllm_mha's own store among them, and ngram drafts,
    # whose verification takes SGLang's NgramVerifyInput THEN a sound run is silent
    sound = [f"fp8 {each}" for each in ("trtllm_mha", "triton", "fa3", "flashinfer")]
    for story in (*sound, "ngram trtllm_mha", "ngram triton"):
        assert found[story]["trapped"] is None and found[story]["first wrong"] is None, story
        assert found[story]["steps"] > 20 and found[story]["launches"] > 300, story
    # WHEN the fifth decode step stores a token behind the pool THEN it is told in that step,
    # at the store of its first layer: no launch of it has run
    for backend in ("trtllm_mha", "fa3"):
        planted = found[f"fp8 {backend}, misplaced"]
        assert planted["trapped"] == ["I3", "swa", "out_cache_loc"], backend
        assert planted["steps"] == 4 and planted["launches"] % 12 == 0, backend
    # WHEN the window of a verification keeps ids of the full pool THEN the first such launch is
    # told before it runs
    full_ids = found["ngram triton, full ids"]
    assert full_ids["trapped"] == ["I2", "swa", "block_tables"]
    assert full_ids["first wrong"] is None and full_ids["launches"] % 12 == 0
    # AND what every release has, a verification through FlashInfer whose window begins with the
    # row: told once the row's first tokens have left the window
    assert found["ngram flashinfer"]["trapped"] == ["I1", "swa", "block_tables"]
