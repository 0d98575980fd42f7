"""A model whose every layer slides has one pool, of which the window alone is read."""

from __future__ import annotations

import json

import pytest

from tests import prepared


@pytest.fixture(scope="module")
def told():
    done = prepared.python("-m", "tests.sglang.pure_swa_child", version="0.5.18")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", ["plain", "prefill aware"])
def test_slots_behind_the_window_are_free_and_a_shielded_prompt_is_held_without_an_alarm(
    kind, told
):
    # GIVEN requests that decode far past the window, with and without a prompt that is kept
    assert min(told[kind]["evicted"]) > 50
    # WHEN both the counts and the free lists are looked at in every step
    assert told[kind]["looks"] == [30, 30]
    # THEN nothing is said
    assert told[kind]["said"] == []


def test_a_slot_of_the_window_that_is_freed_under_its_request_is_told(told):
    assert [each.split()[0] for each in told["harmed"]["said"]] == ["I7", "I17"]
