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
from triage.device import capture
from triage.dump.file import read_dump
from triage.dump.store import DumpStore
from triage.errors import OutOfBounds, TableForm
from triage.lab.decode_step import WINDOW, Step
from triage.sglang.traps import Traps


class Batch(SimpleNamespace):
    """One that can be referred to weakly."""


def launched(traps):
    """Its kernels are launched, in the interpreter, so that launches can be repeated."""
    watch = traps.launches.watching.watch
    watch.checker._eager = watch.recorder._eager = False
    return watch


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
    watch = traps.launches.watching.watch
    launch = watch.launch
    monkeypatch.setattr(
        watch, "launch", lambda *a, **k: (events.append("check"), launch(*a, **k))[1]
    )
    forward = Forward(step, traps, lambda **_: events.append("attention"))
    # GIVEN two warm-ups over the metadata of the capture
    traps.launches.forget_tables(step.backend, graph=True)
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
    traps.launches.note_backend(step.backend, SimpleNamespace(sliding_window_size=WINDOW - 1))
    traps.launches.watching.prepare(step.backend)
    assert traps.launches.watching.watch is None
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
    assert traps.launches.hot.newest is None


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "launched"])
def test_every_forward_is_asked_whether_its_metadata_is_its_own(tmp_path, eager):
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path)
    if not eager:
        launched(traps)
    asked: list[int] = []
    traps.launches.freshness.check = lambda backend, batch: asked.append(traps.steps.current)
    forward = Forward(step, traps)
    for _ in range(3):
        forward.run()
        renewed(step)
    assert set(asked) == {1, 2, 3}


def test_a_forward_that_is_done_is_not_kept_alive(tmp_path):
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path)
    launched(traps)
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
    launched(traps)
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


class Attention:
    """Keeps the tables that it was given."""

    def __init__(self) -> None:
        self.tables: list[torch.Tensor] = []

    def __call__(self, **arguments) -> None:
        self.tables.append(arguments["block_tables"].clone())


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "launched"])
def test_a_launch_outside_a_backend_takes_no_layers_copy(tmp_path, eager):
    # GIVEN a full layer that was checked, and a launch by somebody else over another table
    step = Step(layers=12, rows=2, width=12)
    traps = armed(step, tmp_path)
    if not eager:
        launched(traps)
    attention = Attention()
    forward = Forward(step, traps, attention)
    forward.metadata(step.backend, forward.batch)
    forward.new_metadata()
    forward.layers(6)
    forward.launch(**{**step.calls[5][1].arguments, "block_tables": step.full.flip(0).clone()})
    # WHEN the next full layer is launched
    layer, call = step.calls[11]
    forward.enter(step.backend, layer, forward.batch, forward, call.arguments)
    # THEN it reads its own table
    assert torch.equal(attention.tables[-1], step.full)


def test_a_launch_outside_a_backend_lends_no_layer_its_form(tmp_path):
    # GIVEN a launch of one row by somebody else, after forwards of two
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path)
    launched(traps)
    attention = Attention()
    forward = Forward(step, traps, attention)
    forward.run()
    call = step.calls[5][1]
    one = {"block_tables": step.full[:1].clone(), "seq_lens": call.cache_seqlens[:1].clone()}
    forward.launch(**{**call.arguments, **one, "query": call.query[:1]})
    # WHEN the second row of the next forward has a wild id, THEN it is seen and contained
    renewed(step)
    step.full[1, 3] = 10**6
    with pytest.raises(OutOfBounds):
        forward.run()
    assert int(attention.tables[-1].max()) < 10**6


def test_a_check_that_was_not_launched_is_not_repeated(tmp_path):
    # GIVEN one table twice in a forward, the second time for a batch of other rows
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path)
    watch = launched(traps)
    forward = Forward(step, traps)
    layer, call = step.calls[0]
    forward.enter(step.backend, layer, forward.batch, forward, call.arguments)
    other = Batch(**{**vars(forward.batch), "req_pool_indices": torch.arange(1, 4)})
    forward.enter(step.backend, layer, other, forward, call.arguments)
    # THEN nobody takes the kernels of the first for those of the second
    assert "swa" in watch._repeats and "swa" not in traps.launches.watching._bound


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "launched"])
def test_every_batch_on_one_metadata_is_asked_for(tmp_path, eager):
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path)
    if not eager:
        launched(traps)
    asked = []
    traps.launches.freshness.check = lambda backend, batch: asked.append(batch)
    forward = Forward(step, traps)
    forward.run()
    forward.metadata(step.backend, forward.batch)
    forward.new_metadata()
    forward.layers(5)
    forward.batch = Batch(**vars(forward.batch))
    forward.layers(5)
    assert any(batch is forward.batch for batch in asked)


def test_the_facts_of_a_repetition_are_its_own(tmp_path, monkeypatch):
    # GIVEN forwards that are known, and then sliding layers that are given the full table
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path, "log")
    watch = launched(traps)
    forward = Forward(step, traps)
    forward.run()
    forward.run()
    renewed(step)
    for _, call in step.calls:
        call.arguments["block_tables"] = step.full
    told = []
    evidence = watch.evidence
    monkeypatch.setattr(watch, "evidence", lambda *a: told.append(evidence(*a)) or told[-1])
    forward.run()
    assert told[0].facts["table_space"] == "full"


def test_a_dump_of_rows_that_are_not_the_batchs_has_the_table(tmp_path):
    # GIVEN a table of more rows than the batch has requests (context parallelism)
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, tmp_path, "raise")
    forward = Forward(step, traps)
    forward.batch = Batch(**{**vars(forward.batch), "req_pool_indices": torch.tensor([1])})
    forward.write = lambda *_: None
    step.full[0, 3] = 10**6
    layer, call = step.calls[5]
    # THEN the trap's own error leaves, with a dump
    with pytest.raises(OutOfBounds):
        forward.enter(step.backend, layer, forward.batch, forward, call.arguments)
    dump = read_dump(next(tmp_path.glob("OutOfBounds-*")))
    assert dump.tables.page_table.row(0)[3] == 10**6
