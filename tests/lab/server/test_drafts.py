"""Draft tokens of two servers: recorded per request and position, compared where both have them."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from triage.lab.server.drafts import DraftRecorder, agreement, read
from triage.lab.server.late import Row, Step


def record(path, number: int, tokens: list[list[int]], lengths: list[int], ended=()) -> None:
    recorder = DraftRecorder(path)
    rows = [
        Row(SimpleNamespace(origin_input_ids=[index], finished=lambda i=index: i in ended), index)
        for index in range(len(tokens))
    ]
    step = Step(number, rows)
    width = len(tokens[0])
    proposal = SimpleNamespace(draft_token=torch.tensor(tokens).flatten(), draft_token_num=width)
    recorder.drafted(step, SimpleNamespace(seq_lens=torch.tensor(lengths)), proposal)
    recorder.settle(step)


def test_only_positions_that_both_drafted_at_are_compared(tmp_path):
    # GIVEN two servers that share one position of each of two requests
    record(tmp_path / "a", 1, [[9, 1, 2, 3], [9, 4, 5, 6]], [10, 20])
    record(tmp_path / "b", 1, [[9, 1, 2, 7], [9, 8, 5, 6]], [10, 20])
    record(tmp_path / "b", 2, [[9, 1, 1, 1], [9, 1, 1, 1]], [11, 21])
    # WHEN they are compared
    found = agreement(read(tmp_path / "a"), read(tmp_path / "b"))
    # THEN the token that was known is not among them, and four of six proposals are equal
    assert (found.compared, found.equal, found.rows, found.first_equal) == (6, 4, 2, 1)
    assert found.share == 4 / 6


def test_nothing_in_common_has_no_share(tmp_path):
    assert agreement({}, {(1, 2): (3,)}).share is None


def test_a_row_that_had_ended_is_not_recorded(tmp_path):
    record(tmp_path / "a", 1, [[9, 1], [9, 2]], [10, 20], ended={1})
    assert list(read(tmp_path / "a").values()) == [(1,)]


def test_a_load_is_told_by_its_time(tmp_path):
    record(tmp_path / "a", 1, [[9, 1]], [10])
    assert not read(tmp_path / "a", until=1.0)


def test_an_idle_proposal_is_passed_over(tmp_path):
    step = Step(1, [])
    DraftRecorder(tmp_path / "a").drafted(step, None, SimpleNamespace(draft_token=None))
    assert not step.copies
