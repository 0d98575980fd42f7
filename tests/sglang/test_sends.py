"""Rows that a prefill server gives back while their keys are being sent (I24)."""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.invariants.found import Found
from triage.lab import versions


@pytest.mark.parametrize("version", ["0.5.18", pytest.param("0.5.14", marks=pytest.mark.slow)])
def test_a_row_is_not_given_back_while_its_sender_goes_on(tmp_path, version):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    done = prepared.python("-m", "tests.sglang.sends_child", tmp_path, version=version)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    # GIVEN a request of which 64 tokens were handed to SGLang's own sender
    assert told["under way"] == f"I24 {Found.FREED_WHILE_SENT} 64"
    # AND silence where the sender came to its end, was aborted, or was given nothing
    assert {told[what] for what in ("through", "aborted", "nothing sent")} == {"silent"}
    assert told["internal"] == 0
