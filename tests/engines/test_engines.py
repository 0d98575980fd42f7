"""Every engine gives each task's answer once, whatever becomes of its workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.engines import work
from triage.engines import ATTEMPTS, IN_FLIGHT, EngineError, Inline, Lost, engine


@pytest.fixture(scope="module")
def local():
    with closing(engine("local", 2)) as made:
        yield made


def test_answers_are_those_of_a_plain_loop(local):
    plain = sorted(Inline().map(work.double, range(20)))
    assert sorted(local.map(work.double, range(20))) == plain


def test_tasks_are_taken_only_as_workers_free_up(local):
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    answers = local.map(work.double, tasks())
    for given in range(1, 30):
        next(answers)
        assert taken <= given + local.workers * IN_FLIGHT
    answers.close()


def test_a_worker_that_is_killed_changes_no_answer(local, tmp_path):
    # GIVEN a task whose worker is killed the first time
    tasks = [(number, str(tmp_path / "killed")) for number in range(12)]
    # WHEN all are run
    answers = [answer for _, answer in local.map(work.die_once, tasks)]
    # THEN each has its answer, once
    assert (tmp_path / "killed").exists()
    assert sorted(answers) == list(range(12))


def test_a_task_that_kills_its_worker_each_time_is_lost_and_no_other(local):
    answers = dict(local.map(work.die_of, [(number, 5) for number in range(9)]))
    lost = answers.pop((5, 5))
    assert isinstance(lost, Lost) and f"died {ATTEMPTS} times" in lost.reason
    assert sorted(answers.values()) == [0, 1, 2, 3, 4, 6, 7, 8]


def test_what_the_function_raises_is_raised(local):
    with pytest.raises(ValueError, match="not 0"):
        list(local.map(work.fail, [0]))


def test_workers_are_other_processes(local):
    assert {answer for _, answer in local.map(work.whoami, range(4))} - {os.getpid()}


def test_an_engine_that_nobody_knows_is_refused():
    with pytest.raises(EngineError, match="known: local, ray"):
        engine("slurm")
