"""Fix state-swap: the same objects before and after, and nothing on a correct SGLang."""

from __future__ import annotations

import pytest

from triage.sglang.fixes.state_swap import StateSwap

NAMES = ("_swa_kv_pool", "use_sliding_window_kv_pool", "_swa_full_to_swa_mapping")


def state_of(backend):
    return {name: vars(backend).get(name) for name in NAMES}


@pytest.fixture
def stale(runtime, monkeypatch):
    """The draft backend with the SWA state its own, non-hybrid pool would give it."""
    for name in NAMES:
        if name in vars(runtime.draft_backend):
            monkeypatch.setattr(runtime.draft_backend, name, None)
    monkeypatch.setattr(runtime.draft_backend, "use_sliding_window_kv_pool", False)
    return runtime.draft_backend


def same(before, after):
    return all(before[name] is after[name] for name in NAMES)


def test_inside_the_view_the_state_is_the_pools(runtime, stale):
    fix, pool = StateSwap(), runtime.token_to_kv_pool
    with fix.swapped(stale, pool):
        assert stale._swa_kv_pool is pool
        assert stale._swa_full_to_swa_mapping is pool.full_to_swa_index_mapping
        # it gates writes alone on this release; a correct frozen-KV draft has it False too
        assert stale.use_sliding_window_kv_pool is False
    assert fix.uses == 1


@pytest.mark.parametrize("raises", [False, True], ids=["the body returns", "the body raises"])
def test_afterwards_the_very_same_objects_are_back(runtime, stale, raises):
    before = state_of(stale)
    try:
        with StateSwap().swapped(stale, runtime.token_to_kv_pool):
            if raises:
                raise KeyError("from the body")
    except KeyError:
        assert raises
    assert same(before, state_of(stale))


def test_a_correct_backend_is_not_touched(runtime):
    fix, backend = StateSwap(), runtime.draft_backend
    before = state_of(backend)
    with fix.swapped(backend, runtime.token_to_kv_pool):
        assert same(before, state_of(backend))
    assert fix.uses == 0


def test_a_pool_that_is_not_hybrid_is_left_alone(runtime, stale):
    fix = StateSwap()
    with fix.swapped(stale, runtime.draft_pool):
        assert stale._swa_kv_pool is None
    assert fix.uses == 0


def test_the_graph_buffer_is_allocated_for_a_frozen_draft_and_for_no_other(runtime, stale):
    fix = StateSwap()
    none = lambda *_: None  # noqa: E731, stands for an SGLang that allocates nothing
    assert fix.around_table(none, stale, 4, 8) is None
    fix._frozen_drafts.add(stale)
    table = fix.around_table(none, stale, 4, 8)
    assert tuple(table.shape) == (4, 8) and not table.any()
    fix.armed = False
    assert fix.around_table(none, stale, 4, 8) is None
