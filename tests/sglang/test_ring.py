"""A ring of keys a request instead of SWA pages (0.5.23): sound is silent, a double free is not."""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.lab import versions


@pytest.mark.parametrize("mode", ("raise", "contain"))
def test_an_allocator_over_a_ring_is_followed_on_its_full_side_alone(mode, tmp_path):
    if "0.5.23" not in versions.available():
        pytest.skip("SGLang 0.5.23 is not unpacked beside the installed one")
    # GIVEN SGLang's allocator in ring mode: it pages the full side, its mapping stays unwritten
    done = prepared.python("-m", "tests.sglang.ring_child", tmp_path, mode, version="0.5.23")
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    # WHEN requests are prefilled, decode and go THEN no check takes the zeros for SWA slots
    assert found["sound"] == 3
    # AND pages that go back twice are told where the ledger stands, as over any other pool
    assert (found["agreed"] >= 6) == (mode == "raise")
    told = "I6: page 2 was freed, but it is free" if mode == "raise" else "freed"
    assert found["twice"].startswith(told)
