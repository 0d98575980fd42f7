"""Real CUDA graphs through the hook of the FlashInfer call; backend and batch are plain objects."""

from __future__ import annotations

import pytest
import torch

from tests.watch.test_seat import PAGES, armed, forward_only
from triage.bench.trap_cost import Step
from triage.bench.watch_cost import Forward, hooked
from triage.call import DECODE
from triage.dump import read_dump
from triage.errors import OutOfBounds
from triage.sglang.attention import AttentionHooks
from triage.timeline import moments

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture
def graph(tmp_path):
    """A captured forward of 42 layers; each "attention" sums the table it was given."""
    step = Step(layers=42, rows=4, width=PAGES, device="cuda")
    traps = armed(step, tmp_path)
    sums = torch.zeros(42, dtype=torch.int64, device="cuda")
    at = iter(range(10**9))

    def attention(**arguments):
        sums[next(at) % 42] = arguments["block_tables"].sum()

    forward = Forward(step, traps)
    forward.launch = hooked(attention, AttentionHooks(traps).launch(DECODE))
    layers = forward_only(forward)
    side = torch.cuda.Stream()
    traps.forget_tables(step.backend, graph=True)
    with torch.cuda.stream(side):
        layers()
        layers()
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        layers()
    return step, traps, captured, sums


def replayed(step, traps, captured):
    number = traps.steps.begin()
    traps.forget_tables(step.backend, graph=True)
    torch.cuda.set_sync_debug_mode("error")
    try:
        captured.replay()
        traps.steps.forward_done()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    traps.steps.release(number)


def test_a_replay_checks_what_the_tables_then_hold(graph, tmp_path):
    # GIVEN a captured forward, replayed on clean tables
    step, traps, captured, sums = graph
    assert traps.counts["tables under capture"] == 2
    for _ in range(3):
        replayed(step, traps, captured)
    clean = sums.clone()
    # WHEN the sliding table gets a wild id, THEN the very replay that reads it raises
    step.swa[1, PAGES - 1] = 1 << 28
    with pytest.raises(OutOfBounds) as caught:
        replayed(step, traps, captured)
    assert caught.value.evidence.facts["step"] == 4
    assert "= 268435456 is outside" in str(caught.value)
    # AND no launch was given it
    assert bool((sums <= clean).all())
    # AND the ring has the replays, the last of them wrong
    (path,) = tmp_path.glob("OutOfBounds-*")
    launches = moments(read_dump(path).history)
    assert [bool(each.fresh) for each in launches if each.space == "swa"][-1]
    assert launches[-1].graph == 1


def test_the_ring_of_a_lost_device_is_written_without_asking_it(graph, monkeypatch):
    step, traps, captured, _ = graph
    replayed(step, traps, captured)

    def lost(*_, **__):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    # GIVEN a device that answers nothing any more
    for owner, name in ((torch.cuda, "synchronize"), (torch.cuda.Event, "query")):
        monkeypatch.setattr(owner, name, lost)
    monkeypatch.setattr(torch.Tensor, "cpu", lost)
    # WHEN the scheduler is left, THEN the ring is on disk
    path = traps.history.leaving(RuntimeError("CUDA error"), "event loop")
    assert path is not None and len(read_dump(path).history) >= 2
