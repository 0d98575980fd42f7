"""Pages of requests against the lists of free pages, as launches that nobody waits for."""

from __future__ import annotations

import random

import pytest
import torch

from triage.device.late_copies import BUFFERS, LateCopies
from triage.device.page_audit import NUMBERS, PageAudit, contradictions
from triage.device.syncs import count_syncs

PAGE, PAGES = 4, 12
ROWS = torch.tensor([3, 5])


def told(slots, lists, lengths=(12, 8), audit=None):
    audit = audit or PageAudit(PAGES, PAGE, torch.device("cpu"))
    slots = torch.tensor(slots, dtype=torch.int32) * PAGE
    lengths = torch.tensor(lengths)
    slots = audit.read(slots, lengths)
    lists = [torch.tensor(each, dtype=torch.int64) for each in lists]
    return contradictions(audit.look(slots, ROWS, lengths, lists).numpy())


HELD = [[1, 2, 3], [4, 5, 0]]


def test_pages_that_are_held_and_pages_that_are_free_contradict_nothing():
    # GIVEN two requests, what lies beyond their length is of somebody else by now
    found = told([[1, 2, 3], [4, 5, 6]], [[6, 7, 8], [9, 10, 11]])
    assert not found.any


def test_a_common_prefix_is_no_contradiction():
    assert not told([[1, 2, 3], [1, 2, 0]], [[4, 5]]).any


def test_a_page_that_is_free_and_read_is_named_with_its_request_and_place():
    found = told(HELD, [[6, 7], [5, 8]])
    assert (found.read, found.page, found.column, found.request) == (1, 5, 1, 5)


def test_the_same_array_does_not_remember_the_look_before():
    audit = PageAudit(PAGES, PAGE, torch.device("cpu"))
    assert told(HELD, [[5]], audit=audit).any
    assert not told(HELD, [[6]], audit=audit).any
    assert not told([[4, 5, 0], [1, 2, 0]], [[6]], lengths=(8, 8), audit=audit).any


@pytest.mark.parametrize(
    ("lists", "name", "number"),
    [
        ([[6, 7], [8, 7]], "twice", 7),
        ([[7, 6, 7]], "listed", 2),
        ([[0, 6]], "dummy", 1),
    ],
)
def test_a_list_that_contradicts_itself_is_told(lists, name, number):
    found = told(HELD, lists)
    assert found.any
    assert getattr(found, name) == number


def test_a_page_at_two_columns_is_told_with_both_places():
    found = told([[1, 2, 3], [4, 1, 0]], [[6]])
    assert found.any
    assert (found.moved, found.first, found.second) == (1, (0, 3), (1, 5))


def test_so_is_one_at_two_columns_of_one_row():
    found = told([[1, 2, 1], [4, 5, 0]], [[6]])
    assert (found.moved, found.first, found.second) == (1, (0, 3), (2, 3))


def test_what_lies_beyond_a_length_is_at_no_column():
    assert not told([[1, 2, 3], [4, 5, 1]], [[6]]).any


def test_ids_that_no_pool_has_are_passed_over():
    # GIVEN ids outside the pool in two columns, and its last page free
    assert not told([[1, 2, 99], [-3, 99, 0]], [[6, PAGES - 1]]).any


@pytest.mark.parametrize("seed", range(5))
def test_it_says_what_plain_python_says_of_drawn_rows(seed):
    # GIVEN rows that share a prefix, and in some draws a page that is moved
    draw = random.Random(seed)
    for _ in range(40):
        shared = draw.randrange(4)
        pages = draw.sample(range(1, PAGES), 8)
        first, second = pages[:4], [*pages[:shared], *pages[4 : 8 - shared]]
        if draw.random() < 0.5:
            second[draw.randrange(4)] = draw.choice(first)
        places = {(page, at) for row in (first, second) for at, page in enumerate(row)}
        moved = {page for page, _ in places if sum(page == other for other, _ in places) > 1}
        # WHEN it looks THEN it names one of them, or none
        found = told([first, second], [], lengths=(16, 16))
        assert (found.moved in moved) if moved else not found.any


def test_a_look_waits_for_nothing_and_so_does_its_way_to_the_host():
    # GIVEN buffers that are made, as they are at the first look
    audit, copies = PageAudit(PAGES, PAGE, torch.device("cpu")), LateCopies(torch.device("cpu"))
    copies.send([torch.zeros(NUMBERS, dtype=torch.int64)], "first")
    assert [each for each, _ in copies.arrived()] == ["first"]
    slots = torch.tensor(HELD, dtype=torch.int32) * PAGE
    lengths, free = torch.tensor([12, 8]), [torch.tensor([6, 5])]
    # WHEN a look is taken and sent
    with count_syncs(forbid=True) as counts:
        copies.send([audit.look(audit.read(slots, lengths), ROWS, lengths, free)], "second")
        [(name, numbers)] = list(copies.arrived())
    # THEN nothing waited, and the numbers are there
    assert counts.total_host_reads == 0
    assert name == "second"
    assert contradictions(numbers).page == 5


def test_copies_arrive_in_order_and_no_more_are_sent_than_there_are_buffers():
    copies = LateCopies(torch.device("cpu"))
    for number in range(BUFFERS):
        assert not copies.full
        copies.send([torch.tensor([number]), torch.tensor([-number])], number)
    assert copies.full
    assert [(told, ids.tolist()) for told, ids in copies.arrived()] == [
        (number, [number, -number]) for number in range(BUFFERS)
    ]
    assert not copies.full
    assert not copies.waiting
