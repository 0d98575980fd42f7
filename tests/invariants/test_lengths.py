"""I12 against the batch: lengths of another forward, or of another convention."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.found import Found
from triage.invariants.lengths import check_decode_window, check_lengths, check_query_offsets

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


def offsets(*values, padded=False, max_q_len=None):
    given = torch.tensor(values, dtype=torch.int32)
    return check_query_offsets(given, query_rows=40, padded=padded, max_q_len=max_q_len)


def test_offsets_that_cut_the_query_tensor_are_silent():
    assert offsets(0, 40, max_q_len=40).total == 0
    assert offsets(0, 10, 10, 40, max_q_len=64).total == 0
    # AND padding behind the last row, where there is some
    assert offsets(0, 10, 32, padded=True).total == 0


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        ((0, 80), {"max_q_len": 80}, "cum_seq_lens_q[1, 0] = 80 is outside [40, 41)"),
        ((0, 80), {"padded": True}, "cum_seq_lens_q[1, 0] = 80 is outside [0, 41)"),
        ((0, 32), {}, "cum_seq_lens_q[1, 0] = 32 is outside [40, 41)"),
        ((1, 40), {}, "cum_seq_lens_q[0, 0] = 1 is outside [0, 1)"),
        ((0, 30, 20, 40), {}, "cum_seq_lens_q[2, 0] = 20 is outside [30, 41)"),
        ((0, 40), {"max_q_len": 39}, "queries of a row[0, 0] = 40 is outside [0, 40)"),
    ],
    ids=["of the keys", "past the padding", "tokens left out", "first", "falling", "too long"],
)
def test_offsets_that_do_not_are_named(values, options, says):
    found = offsets(*values, **options)
    assert found.read() == {"I12": 1}
    assert found.violations()[0].sentence() == says


@pytest.mark.parametrize(
    ("gathered", "lengths", "says"),
    [
        (511, [900], "511 keys of a sliding window that reaches 511 tokens back"),
        (512, [900], True),
        (511 + 100, [900, 100], "the oldest one is left out"),
        (512 + 100, [900, 100], True),
        (100, [100], None),
        (700, [900], None),
    ],
    ids=["one short", "whole", "one short of two rows", "whole of two", "no row past it", "other"],
)
def test_a_decodes_window_is_whole_or_a_key_short_or_not_told_by_the_lengths(
    gathered, lengths, says
):
    found = check_decode_window(gathered, lengths, before=511, where="decode")
    if isinstance(says, str):
        assert found.kind == Found.WINDOW_ONE_SHORT and says in found.summary
    else:
        assert found is says
