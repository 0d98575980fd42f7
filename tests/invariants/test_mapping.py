"""The full-to-SWA mapping: each check shown firing and shown silent."""

from __future__ import annotations

import pytest
import torch

from triage.invariants.mapping import (
    check_cleared,
    check_left_alone,
    check_mapped,
    check_mapping,
    check_translation,
)

PAGE = 4


def pools():
    """Full pages 1 to 7 and SWA pages 1 to 4: full 2 -> SWA 3, full 5 -> SWA 1 (3 tokens)."""
    mapping = torch.zeros(8 * PAGE + 1, dtype=torch.int64)
    mapping[-1] = -1
    mapping[8:12] = torch.arange(12, 16)
    mapping[20:23] = torch.arange(4, 7)
    full, swa = torch.zeros(8, dtype=torch.bool), torch.zeros(5, dtype=torch.bool)
    full[[2, 5, 6]] = True  # 6 is held, its SWA side evicted
    swa[[3, 1]] = True
    return mapping, full, swa


def test_a_mapping_that_agrees_with_both_pools_is_silent():
    mapping, full, swa = pools()
    assert check_mapping(mapping, full, swa, page_size=PAGE).total == 0


def test_page_size_one_has_no_offsets():
    # GIVEN slots 1 to 3 and 1 to 2
    mapping = torch.tensor([0, 2, 0, 1, -1])
    full, swa = torch.tensor([0, 1, 0, 1]).bool(), torch.tensor([0, 1, 1]).bool()
    # WHEN the mapping is right, then stale
    right = check_mapping(mapping, full, swa, page_size=1)
    stale = check_mapping(mapping, full & False, swa, page_size=1)
    # THEN only the second fires
    assert right.total == 0 and stale.read() == {"I4": 2}


@pytest.mark.parametrize(
    ("spoil", "tensor"),
    [
        (lambda m, f, s: m.__setitem__(16, 8), "full_to_swa_index_mapping"),  # page 4 not held
        (lambda m, f, s: m.__setitem__(1, 8), "full_to_swa_index_mapping"),  # dummy page
        (lambda m, f, s: m.__setitem__(11, 20), "full_to_swa_index_mapping"),  # past the pool
        (lambda m, f, s: m.__setitem__(11, 2), "full_to_swa_index_mapping"),  # into the dummy page
        (lambda m, f, s: m.__setitem__(9, 14), "full_to_swa_index_mapping (off its page)"),
        (lambda m, f, s: m.__setitem__(22, 14), "full_to_swa_index_mapping (off its page)"),
        (lambda m, f, s: s.__setitem__(2, True), "SWA pages (held, not mapped)"),
        (lambda m, f, s: s.__setitem__(3, False), "SWA pages (mapped, not held)"),
    ],
)
def test_each_way_to_disagree_is_named(spoil, tensor):
    # GIVEN one disagreement
    mapping, full, swa = pools()
    spoil(mapping, full, swa)
    # WHEN the mapping is checked
    findings = check_mapping(mapping, full, swa, page_size=PAGE)
    # THEN it is an I4 fault of that kind
    assert tensor in {violation.tensor for violation in findings.violations()}


def test_two_full_pages_on_one_swa_page_are_both_named():
    mapping, full, swa = pools()
    mapping[24:28] = torch.arange(12, 16)
    findings = check_mapping(mapping, full, swa, page_size=PAGE)
    assert [v.row for v in findings.violations()] == [2, 6]


def test_a_free_clears_the_whole_page():
    # GIVEN that page 2 of 4 slots was freed by its first two
    mapping, _, _ = pools()
    freed = torch.tensor([8, 9])
    # WHEN the mapping is cleared for those two, and for the page
    mapping[8:10] = 0
    half = check_cleared(freed, mapping, page_size=PAGE)
    mapping[8:12] = 0
    # THEN only the page will do
    assert half.read() == {"I6": 4}  # slots 10 and 11, seen from either freed slot
    assert check_cleared(freed, mapping, page_size=PAGE).total == 0
    assert check_cleared(torch.tensor([-9, 10**9]), mapping, page_size=PAGE).total == 0


def test_new_slots_are_mapped_by_the_call_that_returned_them():
    mapping, _, _ = pools()
    slots = torch.tensor([8, 9, 24])
    assert check_mapped(slots, mapping, torch.tensor([12, 13, 0])).total == 0
    stale = check_mapped(slots, mapping, torch.tensor([4, 13, 0]))
    assert stale.read() == {"I8": 1} and stale.violations()[0].expected == 4
    assert check_mapped(slots, mapping).total == 2
    assert check_mapped(torch.tensor([24]), mapping).total == 0


def test_a_translation_is_what_the_mapping_says_now():
    mapping, _, _ = pools()
    indices = torch.tensor([8, -1, 0, 24])
    right = torch.tensor([12, -1, 0, 0])
    assert check_translation(indices, right, mapping).total == 0
    assert check_translation(indices, right + 1, mapping).total == 4


def test_a_free_may_unmap_its_own_pages_and_no_other():
    # GIVEN that the second token of full page 2 is freed, and with it the page
    mapping, *_ = pools()
    before, freed = mapping != 0, torch.tensor([9])
    mapping[8:12] = 0
    assert check_left_alone(before, mapping, freed, page_size=PAGE).total == 0
    # WHEN a token of page 5 is unmapped as well
    mapping[21] = 0
    found = check_left_alone(before, mapping, freed, page_size=PAGE)
    # THEN it is named
    assert found.read() == {"I6": 1} and found.violations()[0].row == 21
