"""Sixty layers of SGLang's own backend, hooks bound by `install`: what one forward launches."""

from __future__ import annotations

import json

import pytest

from tests import prepared


@pytest.mark.parametrize("mode", ["contain", "log"])
def test_sixty_layers_take_two_table_checks_and_wait_for_nothing(mode):
    # WHEN a decode forward of 60 layers runs, our kernels replaced by a count
    done = prepared.python("-m", "triage.bench.bound_forward", mode, 60, 0)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # THEN one check and one recording per index space, one check of the writes, and no wait
    launched = {name: found["launches"].get(name) for name in ("check", "record", "write check")}
    assert launched == {"check": 2, "record": 2, "write check": 1}
    assert found["host_reads"] == 0
    assert found["layers"] == found["watched"] == 60


def test_in_mode_raise_the_same_forward_waits_four_times_at_most_and_is_found_sound():
    # GIVEN requests whose tables, mapping and slots are right
    done = prepared.python("-m", "triage.bench.bound_forward", "raise", 60, 200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # THEN no trap fires, and the waits are of the forward, not of its layers
    assert 1 <= found["host_reads"] <= 4 and found["forward_us"] > 0
    assert found["layers"] == found["watched"] == 60
