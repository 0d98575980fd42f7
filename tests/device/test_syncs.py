"""The counter of host reads and launches: it must see each way to wait, and nothing else."""

from __future__ import annotations

import pytest
import torch

from triage.device.syncs import HostRead, count_syncs
from triage.invariants.reads import IndexSpace, check_table


@pytest.mark.parametrize(
    ("wait", "name"),
    [
        (lambda t: t.max().item(), "aten::_local_scalar_dense"),
        (lambda t: bool((t > 0).all()), "aten::_local_scalar_dense"),
        (lambda t: t.tolist(), "Tensor.tolist"),
        (lambda t: t.cpu(), "Tensor.cpu"),
        (lambda t: t.numpy(), "Tensor.numpy"),
        (lambda t: t[t > 1], "aten::index.Tensor with a boolean mask"),
        (lambda t: t.nonzero(), "aten::nonzero"),
        (lambda t: t.unique(), "aten::_unique2"),
        (lambda t: torch.equal(t, t), "aten::equal"),
    ],
)
def test_each_way_to_wait_is_one_host_read(wait, name):
    # GIVEN a tensor
    tensor = torch.arange(4)
    # WHEN code reads from it
    with count_syncs() as counts:
        wait(tensor)
    # THEN exactly that read is counted, under its name
    assert counts.host_reads == {name: 1}


def test_forbid_stops_at_the_read():
    tensor = torch.arange(4)
    with pytest.raises(HostRead, match="_local_scalar_dense"), count_syncs(forbid=True):
        tensor.sum().item()


def test_views_are_free_and_launches_are_named():
    # GIVEN a few views and two operators
    tensor = torch.arange(6)
    with count_syncs(forbid=True) as counts:
        tensor.view(2, 3)[0].unsqueeze(0).add_(1)
        tensor.sum()
        counts.launched("check_kernel")
    # THEN only the work is counted
    assert counts.launches == {"aten::add_.Tensor": 1, "aten::sum": 1, "check_kernel": 1}


def test_the_patched_calls_are_put_back():
    before = torch.Tensor.tolist, torch.cuda.synchronize
    with count_syncs():
        assert torch.Tensor.tolist is not before[0]
    assert (torch.Tensor.tolist, torch.cuda.synchronize) == before


def test_the_naive_trap_of_42_layers_reads_84_times_and_check_table_once_per_space():
    # GIVEN a table of 8 rows
    table, lengths = torch.ones(8, 4, dtype=torch.int32), torch.full((8,), 9, dtype=torch.int32)
    # WHEN the naive trap runs per layer, and ours once
    with count_syncs() as naive:
        for _layer in range(42):
            table.max().item()
            table.min().item()
    with count_syncs() as ours:
        check_table(table, lengths, IndexSpace("full", 16, 8), window_left=-1).read()
    # THEN the difference is 84 to 1
    assert naive.total_host_reads == 84
    assert ours.total_host_reads == 1
    assert ours.total_launches < 70
