"""To which step a finding belongs: every launch up to the end of its `run_batch`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.watch.forward import Forward, armed
from triage.dump.expected_ids import UNKNOWN, expected_ids, visible
from triage.dump.file import read_dump
from triage.dump.request_ids import shown_id
from triage.errors import OutOfBounds
from triage.lab.decode_step import PAGE, WINDOW, Step
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


@pytest.mark.parametrize("mode", ["raise", "contain"])
def test_a_table_is_left_alone_where_nothing_about_launches_was_asked_for(step, tmp_path, mode):
    # GIVEN traps for the allocator's books alone, and a page far outside the pool
    traps = armed(step, tmp_path, mode, checks=("allocator", "lifecycle"))
    read = []
    target = Forward(step, traps, lambda *_, **given: read.append(given["block_tables"].clone()))
    step.full[1, 2] = 10**6
    # THEN no launch reads another table than SGLang's, and nothing is told of it
    traps.steps.release(launched(traps, target))
    assert any((table == 10**6).any() for table in read)


def test_an_armed_scheduler_says_what_it_leaves_uncovered_once_its_flags_are_known(traps, caplog):
    flags = SimpleNamespace(attention_backend="aiter", disable_cuda_graph=True)
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


def test_the_first_wrong_launch_is_known_whole_though_later_ones_overflow_the_report(
    step, tmp_path
):
    # GIVEN a sliding table with one page of another request, a full one with three behind it,
    # and a report with room for two
    traps = armed(step, tmp_path, "log")
    checker = traps.launches.watching.watch.checker
    target = Forward(step, traps)
    newest = (step.length - 1) // PAGE
    step.swa[1, newest] = step.swa[0, newest]
    step.full[1, :3] = step.full[0, :3]
    number = traps.steps.begin()
    target.metadata(step.backend, target.batch)
    target.new_metadata()
    target.layers()
    checker.capacity = 2
    traps.steps.forward_done()
    traps.steps.end()
    traps.steps.release(number)
    # THEN the dump of the first has the right page of every entry of it
    dump = read_dump(next(tmp_path.glob("*.msgpack")))
    assert dump.fault.total > checker.capacity and dump.launch.window_left >= 0
    right = expected_ids(dump)
    seen = visible(dump, right.shape[1])
    assert (right[seen] != UNKNOWN).all()
