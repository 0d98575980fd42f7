"""To which step a finding belongs: every launch up to the end of its `run_batch`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.watch.forward import Forward, armed
from triage.dump.file import read_dump
from triage.dump.request_ids import shown_id
from triage.errors import OutOfBounds
from triage.lab.decode_step import WINDOW, Step
from triage.sglang.scheduler.scheduling import Scheduling


@pytest.fixture
def step():
    return Step(layers=6, rows=2, width=12)


@pytest.fixture
def traps(step, tmp_path):
    return armed(step, tmp_path)


@pytest.fixture
def draft(step, traps):
    """A draft with tables of its own, over the target's request rows."""
    own = Step(layers=6, rows=2, width=12)
    own.backend.req_to_token = step.backend.req_to_token
    traps.launches.note_backend(own.backend, SimpleNamespace(sliding_window_size=WINDOW - 1))
    return Forward(own, traps)


def launched(traps, target, *behind):
    """One step: the target's forward, then what runs behind it; its number."""
    number = traps.steps.begin()
    for forward in (target, *behind):
        forward.metadata(forward.step.backend, forward.batch)
        forward.new_metadata()
        forward.layers()
        if forward is target:
            traps.steps.forward_done()
    traps.steps.end()
    return number


def test_what_a_draft_reads_behind_the_target_is_told_before_that_steps_tokens_leave(
    step, traps, draft
):
    target = Forward(step, traps)
    # GIVEN a draft whose table goes wrong, behind a sound target, in the second step of three
    first = launched(traps, target, draft)
    draft.step.full[0, 3] = 10**6
    second = launched(traps, target, draft)
    # WHEN the results are looked at, the next step queued before each
    traps.steps.release(first)
    draft.step.full[0, 3] = step.full[0, 3]
    launched(traps, target, draft)
    # THEN the second step is the one that is stopped
    with pytest.raises(OutOfBounds, match="output of this step is invalid") as caught:
        traps.steps.release(second)
    assert caught.value.evidence.facts["step"] == second


def test_a_result_whose_launch_had_no_visible_end_is_marked_when_it_is_looked_at(step, traps):
    target = Forward(step, traps)
    step.full[1, 2] = -5
    number = traps.steps.begin()
    target.metadata(step.backend, target.batch)
    target.layers()
    traps.steps.forward_done()
    with pytest.raises(OutOfBounds):
        traps.steps.release(number)


def test_one_step_is_marked_once(step, traps):
    target = Forward(step, traps)
    number = launched(traps, target)
    traps.steps.end()
    checker = traps.launches.watching.watch.checker
    assert len(checker._pending) == 1
    traps.steps.release(number)
    assert len(checker._pending) == 0


def test_an_armed_scheduler_says_what_it_leaves_uncovered_once_its_flags_are_known(traps, caplog):
    flags = SimpleNamespace(attention_backend="triton", disable_cuda_graph=True)
    Scheduling(traps.steps, traps.history, traps.launches.hot).run_event_loop(
        lambda _: None, SimpleNamespace(server_args=flags)
    )
    told = [record.message for record in caplog.records if "does not cover" in record.message]
    assert [message.partition(" does not cover ")[2].partition(":")[0] for message in told] == [
        "prefill launches",
        "decode launches",
    ]
    # AND a scheduler that keeps them elsewhere ends in nothing worse than a guess
    Scheduling(traps.steps, traps.history, traps.launches.hot).run_event_loop(
        lambda _: None, SimpleNamespace()
    )


def test_the_error_of_a_step_names_the_requests_of_the_batch_that_is_looked_at(step, traps):
    # GIVEN a step with a page outside the pool in its second row, and the batch it was run for
    target = Forward(step, traps)
    step.full[1, 2] = 10**6
    number = launched(traps, target)
    reqs = [SimpleNamespace(rid="r-2", req_pool_idx=2), SimpleNamespace(rid="r-9", req_pool_idx=9)]
    result = SimpleNamespace(_sglang_triage_step=number)
    scheduling = Scheduling(traps.steps, traps.history, traps.launches.hot)
    traps.launches.hot.armed = True
    # WHEN its result is looked at
    with pytest.raises(OutOfBounds) as caught:
        scheduling.process_batch_result(
            lambda *_: None, SimpleNamespace(), SimpleNamespace(reqs=reqs), result
        )
    # THEN error and dump name that row's request, and none for a row of no request in it
    assert f"of request 2 (id {shown_id('r-2')})" in str(caught.value)
    assert read_dump(Path(caught.value.dump)).tables.request_ids == ("", shown_id("r-2"))
