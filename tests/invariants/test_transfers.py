"""I24 on lists of host slots: what was copied for a node goes to storage whole, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from triage.invariants.found import Found
from triage.invariants.transfers import check_backup

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
