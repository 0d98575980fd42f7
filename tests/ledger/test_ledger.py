"""The shadow ledger: silent on a faithful allocator, and naming each way to be unfaithful."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from triage.invariants.found import Found
from triage.invariants.ledger import DEFERRED, FREE, HELD, TREE, PageLedger, RequestLedger

PAGE = 4


def ledger() -> PageLedger:
    return PageLedger("full", num_pages=8, page_size=PAGE)


def test_a_page_handed_out_twice_names_its_holder():
    # GIVEN that request 3 holds page 2
    books = ledger()
    assert books.alloc([8, 9], where="alloc_extend", owner=3) == ()
    # WHEN the allocator hands out a slot of it again
    (evidence,) = books.alloc([11], where="alloc_decode")
    # THEN the evidence names page, holder and the event
    assert evidence.invariant == "I5"
    expected = "page 2 was handed out, but it is held by request 3 since alloc_extend (event 1)"
    assert evidence.summary == expected


def test_a_partial_page_is_continued_in_silence():
    books = ledger()
    books.alloc([8, 9], where="alloc_extend")
    assert books.alloc([10, 12], where="alloc_decode", continued=[9, -1]) == ()
    assert books.generation[2] == 1 and books.generation[3] == 1


def test_a_double_free_names_the_first_free():
    # GIVEN a page that was freed
    books = ledger()
    books.alloc([8], where="alloc_extend")
    assert books.free([8], where="release of request 3") == ()
    # WHEN it is freed again
    (evidence,) = books.free([9], where="abort")
    # THEN both frees are in the sentence
    assert evidence.invariant == "I6" and evidence.where == "abort"
    assert "it is free since release of request 3 (event 2)" in evidence.summary


def test_a_second_free_says_whose_the_page_was_and_whose_came_with_it():
    # GIVEN pages 2 of request 3 and 5 of request 1, and that of request 3 freed
    books = ledger()
    books.alloc([8], where="alloc_extend", owner=3)
    books.alloc([20], where="alloc_extend", owner=1)
    books.free([8], where="finish")
    # WHEN request 1 frees both, as it does where its row names page 2 too
    (evidence,) = books.free([8, 20], where="finish")
    # THEN an alias can be told from a call that is made twice
    assert evidence.kind == Found.FREED_TWICE
    assert evidence.facts["freed before as pages of"] == [3]
    assert evidence.facts["freed now with pages of"] == [1]
    (again,) = books.free([20], where="finish")
    assert again.facts["freed before as pages of"] == [1]
    assert again.facts["freed now with pages of"] == []


def test_a_use_after_free_says_so_in_its_facts():
    books = ledger()
    books.alloc([8], where="alloc_extend")
    assert books.check_use([8], where="forward") == ()
    books.free([8], where="abort")
    (evidence,) = books.check_use([8], where="forward")
    assert evidence.kind == Found.USED_AFTER_FREE


def test_a_free_in_an_open_group_counts_as_freed_until_it_is_settled():
    # GIVEN a deferred free
    books = ledger()
    books.alloc([8, 12], where="alloc")
    books.free([8], where="finish", deferred=True)
    # WHEN the group frees it again, or the allocator hands it out before the group ends
    (twice,) = books.free([8], where="evict", deferred=True)
    (early,) = books.alloc([8], where="alloc")
    books.settle()
    # THEN both are named, and after the group it is free
    assert "freed, group open" in twice.summary and early.invariant == "I5"
    books.free([8], where="finish", deferred=True)
    books.settle()
    assert books.alloc([8], where="alloc") == ()


def test_freeing_what_was_never_allocated_and_what_no_page_is():
    books = ledger()
    (never,) = books.free([20], where="abort")
    (outside,) = books.free([400], where="abort")
    (dummy,) = books.free([1], where="abort")
    assert "never allocated" in never.summary
    assert "page 100" in outside.summary and "page 0" in dummy.summary


def test_use_after_free_names_the_free():
    # GIVEN that page 2 was freed and page 3 is held
    books = ledger()
    books.alloc([8, 12], where="alloc_extend")
    books.free([8], where="retract of request 5")
    # WHEN a forward reads both, and the dummy page that eviction left
    (evidence,) = books.check_use([12, 8, 0], where="forward 9", request=5)
    # THEN only the freed one is named
    assert evidence.invariant == "I17" and evidence.total == 1
    expected = "page 2 was used after it was freed by retract of request 5 (event 2)"
    assert evidence.summary == expected
    assert books.check_use([12, 0], where="forward 9") == ()


def test_the_audit_names_a_page_that_is_listed_twice():
    # GIVEN a free list of a fresh pool
    books = PageLedger("full", 8, PAGE)
    assert books.audit([1, 2, 3, 4, 5, 6, 7]) == ()
    # WHEN it names page 3 once more
    (twice,) = books.audit([1, 2, 3, 4, 5, 6, 7, 3])
    # THEN that page is named, which the set of free pages cannot show
    assert twice.invariant == "I5" and twice.found == Found.LISTED_TWICE
    assert "page 3 was in the free list more than once" in twice.summary


def test_the_audit_names_pages_that_only_one_side_calls_free():
    # GIVEN a ledger in which page 2 is held by the tree
    books = ledger()
    books.alloc([8], where="alloc_extend")
    books.claim([8], TREE)
    # WHEN the allocator lists it as free, and misses page 7
    assert books.audit([1, 3, 4, 5, 6, 7]) == ()
    surplus, missing = books.audit([1, 2, 3, 4, 5, 6])
    # THEN each is named
    assert "page 2 was listed as free, but it is held by the radix tree" in surplus.summary
    assert "page 7" in missing.summary
    assert (books.state[1:] == FREE).sum() == 6 and books.state[2] == HELD


def test_an_event_older_than_the_history_keeps_its_number():
    books = PageLedger("full", 8, PAGE, history=2)
    books.alloc([8], where="alloc")
    books.free([8], where="long ago")
    for _ in range(3):
        books.alloc([12], where="a")
        books.free([12], where="b")
    assert books.free([8], where="now")[0].summary.endswith("since event 2")


def test_memory_is_25_bytes_per_page():
    books = PageLedger("full", 1000, PAGE)
    arrays = (value for value in vars(books).values() if isinstance(value, np.ndarray))
    assert sum(array.nbytes for array in arrays) == 25 * 1000


def test_rows_are_given_out_once_and_released_once():
    # GIVEN rows 1 and 2
    rows = RequestLedger()
    assert rows.acquire(1, where="admit A") == rows.acquire(2, where="admit B") == ()
    # WHEN one is released twice, and a third is given out twice
    assert rows.release(2, where="finish B") == ()
    (twice,) = rows.release(2, where="abort B")
    (reused,) = rows.acquire(3, where="admit C") + rows.acquire(3, where="admit D")
    # THEN each names what came before
    assert "finish B" in twice.summary
    assert "admit C" in reused.summary


class FaithfulAllocator(RuleBasedStateMachine):
    """A paged allocator that works, with free groups: the ledger must stay silent and agree."""

    def __init__(self) -> None:
        super().__init__()
        self.books = PageLedger("full", num_pages=12, page_size=PAGE)
        self.free = list(range(1, 12))
        self.requests: dict[int, list[int]] = {}  # request -> slots
        self.group: list[int] | None = None
        self.next_request = 1

    @rule(tokens=st.integers(1, 10))
    def admit(self, tokens):
        needed = -(-tokens // PAGE)
        if needed > len(self.free):
            return
        pages = [self.free.pop(0) for _ in range(needed)]
        slots = [page * PAGE + offset for page in pages for offset in range(PAGE)][:tokens]
        assert self.books.alloc(slots, where="alloc_extend", owner=self.next_request) == ()
        self.requests[self.next_request] = slots
        self.next_request += 1

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def decode(self, data):
        request = data.draw(st.sampled_from(sorted(self.requests)))
        slots = self.requests[request]
        last = slots[-1]
        if (last + 1) % PAGE:
            slot = last + 1
        elif self.free:
            slot = self.free.pop(0) * PAGE
        else:
            return
        assert self.books.alloc([slot], where="alloc_decode", continued=[last]) == ()
        slots.append(slot)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def finish(self, data):
        slots = self.requests.pop(data.draw(st.sampled_from(sorted(self.requests))))
        pages = sorted({slot // PAGE for slot in slots})
        assert self.books.free(slots, where="finish", deferred=self.group is not None) == ()
        (self.free if self.group is None else self.group).extend(pages)

    @precondition(lambda self: self.group is None)
    @rule()
    def open_group(self):
        self.group = []

    @precondition(lambda self: self.group is not None)
    @rule()
    def close_group(self):
        self.free.extend(self.group or [])
        self.group = None
        self.books.settle()

    @invariant()
    def the_books_agree(self):
        assert self.books.audit(self.free) == ()
        state = self.books.state[1:]
        assert (state == FREE).sum() == len(self.free)
        assert (state == DEFERRED).sum() == len(self.group or [])
        for request, slots in self.requests.items():
            assert self.books.check_use(slots, where="forward", request=request) == ()


TestFaithfulAllocator = FaithfulAllocator.TestCase
TestFaithfulAllocator.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


def test_a_free_list_that_is_put_back_makes_the_ledger_agree_with_it():
    # GIVEN pages that were allocated after the allocator's state was saved
    ledger = PageLedger("full", 8, 16)
    ledger.alloc(np.arange(16, 48), where="alloc")
    saved = [3, 4, 5, 6, 7]
    ledger.alloc(np.arange(48, 80), where="draft")
    # WHEN the state is restored
    ledger.restore(saved, where="restore_state")
    # THEN the two agree, and what was held before still is
    assert ledger.audit(saved) == ()
    assert (ledger.state[1:] == FREE).sum() == 5 and (ledger.state[1:] == HELD).sum() == 2
    # AND a page that the list does not have any more is held again
    ledger.restore(saved[1:], where="restore_state")
    assert ledger.audit(saved[1:]) == ()
