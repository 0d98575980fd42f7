"""The radix tree as arrays: each check shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.tree import check_locks, check_nodes


def test_tombstones_and_mapping_say_the_same():
    # GIVEN a live node with slots 4 and 5, and a tombstone with 8 and 9
    slots, node = torch.tensor([4, 5, 8, 9]), torch.tensor([0, 0, 1, 1])
    tombstone = torch.tensor([False, True])
    mapping = torch.zeros(12, dtype=torch.int64)
    mapping[4:6] = torch.tensor([6, 7])
    # WHEN they agree, when a live slot lost its peer, when a tombstone kept one
    # THEN each disagreement is one fault
    assert check_nodes(slots, node, tombstone, mapping).total == 0
    lost, kept = mapping.clone(), mapping.clone()
    lost[5], kept[8] = 0, 4
    assert check_nodes(slots, node, tombstone, lost).violations()[0].tensor == "live node"
    assert check_nodes(slots, node, tombstone, kept).violations()[0].tensor == "tombstone"


def locks(full, swa, holders=None):
    # GIVEN a root, a node below it, and two leaves below that
    parent = torch.tensor([-1, 0, 1, 1])
    held = None if holders is None else torch.tensor(holders)
    return check_locks(parent, torch.tensor(full), torch.tensor(swa), held)


def test_locks_that_add_up_are_silent():
    # the root's own counts are fixed; two requests end at leaf 2, one at node 1
    assert locks([1, 3, 2, 0], [1, 1, 2, 0]).total == 0
    assert locks([1, 3, 2, 0], [1, 1, 2, 0], holders=[0, 1, 2, 0]).total == 0


@pytest.mark.parametrize(
    ("full", "swa", "holders", "tensor"),
    [
        ([1, 2, 2, 1], [1, 0, 0, 0], None, "full_lock_ref"),
        ([1, 3, 2, 0], [1, 0, 0, 0], [0, 0, 2, 0], "full_lock_ref"),
        ([1, 1, 1, 0], [1, 2, 1, 0], None, "swa_lock_ref"),
        ([1, 0, 0, -1], [1, 0, 0, -1], None, "lock_ref (negative)"),
    ],
    ids=["below its children", "not given back", "SWA above full", "negative"],
)
def test_locks_that_do_not_add_up_are_named(full, swa, holders, tensor):
    findings = locks(full, swa, holders)
    assert tensor in {violation.tensor for violation in findings.violations()}
