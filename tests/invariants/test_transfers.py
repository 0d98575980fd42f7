"""I24 on lists of host slots: what was copied for a node goes to storage whole, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from triage.invariants.found import Found
from triage.invariants.transfers import HostPages, check_backup

COPIED = np.arange(32, 56)


def test_a_backup_without_the_front_part_of_a_split_node_names_the_first_slot_that_it_lacks():
    seen = check_backup(COPIED, [COPIED[8:]], where="write_storage")
    assert seen is not None and (seen.invariant, seen.kind) == ("I24", Found.BACKUP_INCOMPLETE)
    assert "host slot 32 is not stored" in seen.summary and seen.total == 8


@pytest.mark.parametrize(
    "stored",
    [[COPIED], [COPIED[:8], COPIED[8:]], [COPIED[8:], np.arange(40)], [], [np.arange(8)]],
    ids=["whole", "in two parts", "with others'", "storage is off", "others' alone"],
)
def test_a_backup_that_is_whole_or_is_not_made_is_right(stored):
    assert check_backup(COPIED, stored, where="write_storage") is None


def pages(held=(0, 16)):
    known = HostPages("pool", 32, 4)
    known.handed_out(np.arange(*held))
    return known


def test_pages_that_their_holder_lets_go_once_are_right_whether_queued_or_freed():
    known = pages()
    assert known.let_go(np.arange(8), "queue") is None
    assert known.freed(np.arange(16), "free") is None
    # AND handed out again they may go again
    known.handed_out(np.arange(8))
    assert known.let_go(np.arange(8), "queue") is None


@pytest.mark.parametrize(
    ("release", "says"),
    [
        (lambda known: known.let_go(np.arange(4, 12), "queue"), "host slot 4 is released a second"),
        (
            lambda known: known.let_go(np.arange(16, 20), "queue"),
            "16 is released, and nobody holds",
        ),
        (lambda known: known.freed(np.arange(16, 20), "free"), "host slot 16 is freed, and nobody"),
    ],
    ids=["queued twice", "queued, nobody's", "freed, nobody's"],
)
def test_pages_that_are_released_by_one_who_does_not_hold_them_are_named(release, says):
    known = pages()
    known.let_go(np.arange(8), "queue")
    found = release(known)
    assert (found.invariant, found.kind) == ("I24", Found.HOST_RELEASED_TWICE)
    assert says in found.summary
