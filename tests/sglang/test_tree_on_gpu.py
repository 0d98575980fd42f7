"""The tree's checks where its slots live on a GPU: nothing of the host is mixed with them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tests.pretended_gpu import GPU, on_gpu, pretended_gpu
from triage.invariants.tree import check_nodes
from triage.sglang.allocator.tree import flatten, tree_slots


def node(value, parent=None, tombstone=False):
    made = SimpleNamespace(
        value=value, parent=parent, swa_tombstone=tombstone, full_lock_ref=0, swa_lock_ref=0,
        children={},
    )  # fmt: skip
    if parent is not None:
        parent.children[len(parent.children)] = made
    return made


@pytest.fixture
def cache():
    root = node([])
    kept = node(on_gpu(torch.tensor([1, 2])), root)
    node(on_gpu(torch.tensor([3])), kept, tombstone=True)
    return SimpleNamespace(root_node=root)


def test_the_pretended_gpu_refuses_a_mixture_as_cuda_does():
    with pytest.raises(RuntimeError, match="same device"):
        torch.tensor([True, False])[on_gpu(torch.tensor([0]))]
    with pytest.raises(RuntimeError, match="same device"):
        on_gpu(torch.tensor([1, 2])) + torch.tensor([1, 2])
    with pretended_gpu():
        assert (torch.arange(2, device=GPU) + on_gpu(torch.tensor([1, 2]))).tolist() == [1, 3]
    assert on_gpu(torch.tensor([1])).cpu().device.type == "cpu"


def test_nodes_whose_slots_are_on_a_gpu_are_checked_there(cache):
    with pretended_gpu():
        flat = flatten(cache)
        found = check_nodes(
            flat.slots, flat.node_of_slot, flat.tombstone, on_gpu(torch.tensor([0, 1, 0, 5, 0]))
        )
        # slot 2 is live and not mapped, slot 3 a tombstone's and still mapped
        assert found.total == 2
    assert sorted(tree_slots(cache).tolist()) == [1, 2, 3]
