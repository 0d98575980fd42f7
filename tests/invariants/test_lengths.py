"""I12 against the batch: lengths of another forward, or of another convention."""

from __future__ import annotations

import torch

from triage.invariants.lengths import check_lengths

SEQ = torch.tensor([80, 90, 33])


def test_a_verify_reads_the_prefix_and_its_draft_tokens():
    found = check_lengths((SEQ + 4).to(torch.int32), SEQ, (4,))
    assert found.total == 0


def test_one_row_of_an_earlier_forward_is_named():
    lengths = SEQ + 4
    lengths[1] -= 2
    found = check_lengths(lengths, SEQ, (4,))
    assert found.read() == {"I12": 1}
    (violation,) = found.violations()
    assert (violation.row, violation.value, violation.expected) == (1, 92, 94)


def test_where_a_mode_has_two_conventions_all_rows_follow_one():
    assert check_lengths(SEQ + 2, SEQ, (2, 0)).total == 0
    assert check_lengths(SEQ, SEQ, (2, 0)).total == 0
    mixed = SEQ + torch.tensor([2, 0, 2])
    assert check_lengths(mixed, SEQ, (2, 0)).total == 1


def test_padding_is_not_judged():
    lengths = torch.tensor([81, 1, 1])
    seq = torch.tensor([81, 7, 7])
    requests = torch.tensor([3, 0, 0])
    assert check_lengths(lengths, seq, (0,), req_pool_indices=requests).total == 0
