"""Passes over the same metadata: what a capture needs anew, and what is kept of a forward.

Here the pool is not hybrid, one table serves windows that differ by layer, so a check is
made again in the middle of a pass and the newest one is a late layer's.
"""

from __future__ import annotations

import gc
from types import SimpleNamespace
from weakref import ref

import pytest
import torch

from tests.watch.forward import Forward, armed, renewed
from triage import capture
from triage.bench.trap_cost import WINDOW, Step
from triage.errors import TableForm
from triage.store import DumpStore
from triage.traps import Traps


class Batch(SimpleNamespace):
    """One that can be referred to weakly."""


@pytest.fixture
def step():
    """26 layers that begin and end sliding, as --disable-hybrid-swa-memory launches them."""
    step = Step(layers=26, rows=4, width=40)
    pool = step.backend.token_to_kv_pool
    full = pool.full_kv_pool
    step.backend.token_to_kv_pool = SimpleNamespace(size=full.size, page_size=pool.page_size)
    step.backend._swa_kv_pool = None
    cache = step.calls[5][1].arguments["kv_cache"]
    for _, call in step.calls:
        call.arguments.update(block_tables=step.full, kv_cache=cache)
    return step


def test_a_capture_begins_with_a_check_whichever_layer_was_checked_last(
    step, tmp_path, monkeypatch
):
    traps = armed(step, tmp_path)
    events: list[str] = []
    watch = traps.watching.watch
    launch = watch.launch
    monkeypatch.setattr(
        watch, "launch", lambda *a, **k: (events.append("check"), launch(*a, **k))[1]
    )
    forward = Forward(step, traps, lambda **_: events.append("attention"))
    # GIVEN two warm-ups over the metadata of the capture
    traps.forget_tables(step.backend, graph=True)
    forward.layers()
    forward.layers()
    # WHEN the capture runs
    events.clear()
    monkeypatch.setattr(capture, "capturing", lambda: True)
    forward.layers()
    # THEN a check is recorded before the first layer, and at every change of window
    assert events[:2] == ["check", "attention"]
    assert events.count("check") == 1 + 2 * 4


def test_forms_do_not_pile_up_where_nothing_is_covered(step, tmp_path):
    # GIVEN a page size that refuses to arm, and a server that is to go on
    step.backend.page_size = 48
    traps = Traps(DumpStore(tmp_path), mode="contain", strict=False)
    traps.note_backend(step.backend, SimpleNamespace(sliding_window_size=WINDOW - 1))
    traps.watching.prepare(step.backend)
    assert traps.watching.watch is None
    forward = Forward(step, traps)
    # WHEN forwards run over new tensors
    for _ in range(5):
        lengths = step.calls[0][1].cache_seqlens.clone()
        for _, call in step.calls:
            call.arguments["seq_lens"] = lengths
        forward.batch.req_pool_indices = forward.batch.req_pool_indices.clone()
        forward.run()
    forward.metadata(step.backend, forward.batch)
    # THEN none of the forwards before is kept
    assert traps.watching._vectors is None


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "launched"])
def test_every_forward_is_asked_whether_its_metadata_is_its_own(tmp_path, eager):
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path)
    watch = traps.watching.watch
    watch.checker._eager = watch.recorder._eager = eager
    asked: list[int] = []
    traps.is_fresh = lambda backend, batch: asked.append(traps.steps.current)
    forward = Forward(step, traps)
    for _ in range(3):
        forward.run()
        renewed(step)
    assert set(asked) == {1, 2, 3}


def test_a_forward_that_is_done_is_not_kept_alive(tmp_path):
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path)
    watch = traps.watching.watch
    watch.checker._eager = watch.recorder._eager = False
    forward = Forward(step, traps)
    forward.batch = Batch(**vars(forward.batch))
    forward.run()
    forward.run()
    kept = ref(forward.batch)
    del forward
    gc.collect()
    assert kept() is None


def test_a_launch_of_another_form_is_not_taken_for_a_repetition(tmp_path):
    # GIVEN launches that are known, and then a table whose rows are a view of wider ones
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path)
    watch = traps.watching.watch
    watch.checker._eager = watch.recorder._eager = False
    forward = Forward(step, traps)
    forward.run()
    forward.run()
    wide = torch.zeros(2, 24, dtype=torch.int32)
    wide[:, :12] = step.full
    for layer, call in step.calls:
        if not step.sliding(layer.layer_id):
            call.arguments["block_tables"] = wide[:, :12]
    # THEN its form is judged
    with pytest.raises(TableForm, match=r"strides \(24, 1\)"):
        forward.run()
