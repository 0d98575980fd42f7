"""Captured forwards of SGLang's Triton, FA3 and FlashInfer backends, and what replays see."""

from __future__ import annotations

import json

import pytest

from tests import prepared


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ("0.5.18", "contain"),
        pytest.param("0.5.18", "raise", marks=pytest.mark.slow),
        *(pytest.param(v, "contain", marks=pytest.mark.slow) for v in ("0.5.14", "0.5.23")),
    ],
)
def test_a_replay_is_checked_by_what_its_capture_recorded(tmp_path, version, mode):
    # WHEN decode, verify and a draft's steps are captured, refilled by SGLang for two requests,
    # and replayed: as they are, and with one slot or page of another place
    done = prepared.python(
        "-m", "tests.sglang.capture_backends_child", tmp_path, mode, version=version
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, seen in json.loads(done.stdout.splitlines()[-1]).items():
        # THEN the capture holds one check for each index space or draft step, whatever the layers
        assert seen["recorded"] == 2, name
        # AND its kernels were loaded by a warm-up before
        assert seen["warm"] >= 2, name
        # AND a sound replay is silent, a spoilt one is told
        assert seen["sound"] == {} and seen["spoilt"] == {"I2": 1}, name
