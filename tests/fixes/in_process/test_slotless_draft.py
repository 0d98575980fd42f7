"""A frozen-KV draft behind a prefill: its batch names the prefill's slots, or none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from triage.sglang.fixes.fix import Need
from triage.sglang.fixes.slotless_draft import PROMPT, SlotlessDraft, slots_of_the_draft


@pytest.fixture(autouse=True)
def only_where_needed(release):
    if SlotlessDraft.ask().need is not Need.NEEDED:
        pytest.skip(f"SGLang {release} has no such draft, or hands it no slots")


def test_without_the_fix_the_graph_runner_is_handed_a_slot_for_each_prompt_token():
    assert slots_of_the_draft().tolist() == list(range(1, PROMPT + 1))


def test_with_it_the_graph_runner_is_handed_none(bind):
    fix = bind(SlotlessDraft())
    assert slots_of_the_draft() is None
    assert fix.uses == 1


def test_a_batch_that_names_no_slots_is_left_as_it_is(bind):
    # GIVEN the batch of requests that were merged, which SGLang leaves without slots
    from sglang.srt.speculative import frozen_kv_mtp_utils as utils

    fix, batch = bind(SlotlessDraft()), SimpleNamespace(batch_size=2, out_cache_loc=None)
    # WHEN it is made ready for a draft THEN nothing is counted as corrected
    utils.expand_for_topk_draft(batch, 1)
    assert batch.out_cache_loc is None and fix.uses == 0


def test_disarmed_it_leaves_the_slots(bind):
    bind(SlotlessDraft()).armed = False
    assert slots_of_the_draft().tolist() == list(range(1, PROMPT + 1))
