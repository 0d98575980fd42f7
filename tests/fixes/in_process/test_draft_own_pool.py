"""A draft with a pool of its own keeps no SWA state; one that borrows the target's does."""

from __future__ import annotations

import pytest

from triage.sglang.fixes.construction import Draft
from triage.sglang.fixes.draft_own_pool import DraftOwnPool, owns_its_pool
from triage.sglang.fixes.fix import Need


@pytest.mark.parametrize(
    ("algorithm", "owns"), [("EAGLE", True), ("STANDALONE", True), ("FROZEN_KV_MTP", False)]
)
def test_only_a_draft_that_borrows_the_targets_pool_does_not_own_one(algorithm, owns):
    assert owns_its_pool(Draft(algorithm).runner) is owns


def test_a_target_is_never_touched():
    runner = Draft("EAGLE").runner
    runner.is_draft_worker = False
    assert not owns_its_pool(runner)


class Backend:
    """What the constructor left behind, before the fix looks at it."""

    def __init__(self, pool):
        self._swa_kv_pool = pool
        self.use_sliding_window_kv_pool = pool is not None


@pytest.mark.parametrize("armed", [True, False], ids=["armed", "disarmed"])
def test_after_construction_an_own_pool_is_read_without_translation(armed):
    draft, fix = Draft("EAGLE"), DraftOwnPool()
    fix.armed = armed
    backend = Backend(None)
    construct = lambda backend, runner: setattr(backend, "_swa_kv_pool", draft.target_pool)  # noqa: E731
    fix.around_init(construct, backend, draft.runner)
    assert (backend._swa_kv_pool is None) is armed
    assert not hasattr(backend, "_swa_full_to_swa_mapping")  # nothing is added to a release
    assert fix.uses == int(armed)


def test_the_probe_is_what_the_real_constructor_does(release):
    expected = Need.NEEDED if release == "0.5.12.post1" else Need.ALREADY_FIXED
    assert DraftOwnPool.probe().need is expected
