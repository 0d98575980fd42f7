"""I18 on a real GPU: the planted missing wait is told, the same with the wait is silent."""

from __future__ import annotations

import pytest
import torch

from triage.bench import gpu_order

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_a_refill_that_does_not_wait_for_the_replay_is_told_with_both_sides():
    found = gpu_order.play(two_streams=True, waits=False)
    assert found["told"].startswith("I18") and found["failures"] == {}
    facts = found["facts"]
    assert facts["replay_stream"] != facts["refill_stream"]
    assert facts["refill_step"] > facts["replay_step"]


@pytest.mark.parametrize("two_streams", [True, False], ids=["with the wait", "on one stream"])
def test_an_ordered_refill_is_silent(two_streams):
    found = gpu_order.play(two_streams=two_streams, waits=two_streams)
    assert found["told"] is None and found["failures"] == {}
    assert found["replays_seen"] == found["steps"]


def test_a_replay_costs_less_than_five_microseconds_more_and_no_sync():
    assert gpu_order.cost()["more_with_an_event_us"] < 5
