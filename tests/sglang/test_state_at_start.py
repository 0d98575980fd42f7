"""A backend's SWA state when it is built: a wrong one is logged, once; one moved later is not."""

from __future__ import annotations

import json

import pytest

from tests import prepared
from triage.dump.sections import Dump
from triage.evidence import Evidence
from triage.explain import explain
from triage.invariants.found import Found

RELEASES = [
    pytest.param(release, marks=() if release == "0.5.18" else pytest.mark.slow)
    for release in ("0.5.13.post1", "0.5.14", "0.5.18", "0.5.23")
]


@pytest.fixture(scope="module", params=RELEASES)
def built(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("built")
    done = prepared.python("-m", "tests.sglang.state_start_child", directory, version=request.param)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_sound_backend_and_one_whose_state_a_fix_moves_are_silent(built):
    silent = [name for name in built if name.startswith("sound") or "fix" in name]
    assert len(silent) == 4
    assert {name: built[name] for name in silent if built[name]} == {}
    assert built["errors"] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("EAGLE, of the allocator", "a pool of its own, but translates through the SWAKVPool"),
        ("frozen, of the runner", "_swa_kv_pool is None"),
    ],
)
def test_a_backend_of_another_pool_is_logged_once_before_any_id_is_wrong(built, name, words):
    # GIVEN that all backends of a draft take the wrong pool, THEN one of them is told, not raised
    ((invariant, kind, summary),) = built[name]
    assert (invariant, kind) == ("I2", Found.STATE_OF_ANOTHER_POOL)
    assert words in summary and "no id is wrong yet" in summary


@pytest.mark.parametrize(
    ("own_pool", "cause"), [(True, "own-pool-draft-translated"), (False, "stale-swa-state")]
)
def test_whose_pool_is_read_decides_the_name(own_pool, cause):
    kind = Found.STATE_OF_ANOTHER_POOL
    fault = Evidence("I2", "state", "__init__", facts={"own_pool": own_pool}, kind=kind)
    (named,) = explain(Dump(fault=fault)).named
    assert (named.key, named.confidence.name) == (cause, "HIGH")
