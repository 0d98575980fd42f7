"""Real CUDA graphs through the wrapper of the FlashInfer call; backend and batch are plain objects.

Needs torch with CUDA and Triton, no SGLang and no FlashInfer:
`python -m pytest -m gpu tests/watch/test_gpu.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from tests.watch.forward import Forward, armed
from triage.dump.file import read_dump
from triage.dump.history import launch_summaries
from triage.errors import OutOfBounds
from triage.lab.decode_step import Step

LAYERS, PAGES = 42, 40

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@contextmanager
def no_sync() -> Iterator[None]:
    """CUDA's own view: anything inside that waits for the device raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the mode a prototype, once a process
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def graph(tmp_path):
    """A captured forward; each layer's "attention" sums the table that it was given."""
    step = Step(layers=LAYERS, rows=4, width=PAGES, device="cuda")
    traps = armed(step, tmp_path)
    sums = torch.zeros(LAYERS, dtype=torch.int64, device="cuda")
    calls = iter(range(10**9))

    def attention(block_tables, **_):
        sums[next(calls) % LAYERS] = block_tables.sum()

    forward = Forward(step, traps, attention)
    traps.launches.forget_tables(step.backend, graph=True)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # warm-up compiles the kernels, which capture must not
        forward.layers()
        forward.layers()
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        forward.layers()
    return step, traps, captured, sums


def replayed(step, traps, captured):
    """A step of the scheduler that replays the graph; raises what its checks found."""
    number = traps.steps.begin()
    traps.launches.forget_tables(step.backend, graph=True)
    with no_sync():
        captured.replay()
        traps.steps.forward_done()
        traps.steps.end()
    traps.steps.release(number)


def test_a_replay_checks_what_the_tables_then_hold(graph, tmp_path):
    # GIVEN a captured forward, replayed on clean tables
    step, traps, captured, sums = graph
    assert traps.counts["tables under capture"] == 2
    for _ in range(3):
        replayed(step, traps, captured)
    clean = sums.tolist()
    assert clean == [int((step.swa if step.sliding(i) else step.full).sum()) for i in range(LAYERS)]
    # WHEN the sliding table gets a wild id, THEN the very replay that reads it raises
    right = int(step.swa[1, PAGES - 1])
    step.swa[1, PAGES - 1] = 1 << 28
    with pytest.raises(OutOfBounds) as caught:
        replayed(step, traps, captured)
    assert caught.value.evidence.facts["step"] == 4
    assert "= 268435456 is outside" in str(caught.value)
    # AND the launches were given the dummy page in its place, and nothing else was altered
    lost = [right if step.sliding(layer) else 0 for layer in range(LAYERS)]
    assert sums.tolist() == [before - less for before, less in zip(clean, lost, strict=True)]
    # AND the ring has the replays, the last of them wrong
    (path,) = tmp_path.glob("OutOfBounds-*")
    launches = launch_summaries(read_dump(path).history)
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
