"""The tree's checks where its slots live on a GPU: nothing of the host is mixed with them."""

from __future__ import annotations

from types import SimpleNamespace

from tests.mixed_devices import GPU, HOST, MixedDevices, on_gpu, side
from triage.invariants.tree import check_nodes
from triage.sglang.allocator.tree import flatten


def node(value, parent=None, tombstone=False):
    made = SimpleNamespace(
        value=value, parent=parent, swa_tombstone=tombstone, full_lock_ref=0, swa_lock_ref=0,
        children={},
    )  # fmt: skip
    if parent is not None:
        parent.children[len(parent.children)] = made
    return made


def test_nodes_whose_slots_are_on_a_gpu_are_checked_there():
    # GIVEN a tree whose slot 2 is live and not mapped, and slot 3 a tombstone's and still mapped
    root = node([])
    node(on_gpu([3]), node(on_gpu([1, 2]), root), tombstone=True)
    with MixedDevices() as mode:
        # WHEN it is flattened and checked
        flat = flatten(SimpleNamespace(root_node=root))
        found = check_nodes(flat.slots, flat.node_of_slot, flat.tombstone, on_gpu([0, 1, 0, 5, 0]))
    # THEN both are told, the slots stay where they are, the locks are the host's, nothing is mixed
    assert found.total == 2
    assert (side(flat.slots), side(flat.full_lock)) == (GPU, HOST)
    assert mode.found == []
