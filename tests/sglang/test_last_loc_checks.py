"""Where a request grows, on SGLang's own allocator, request table and tree: loud, and silent."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch

from triage.dump.store import DumpStore
from triage.errors import TrapError
from triage.invariants.catalogue import FAMILIES
from triage.sglang.allocator.last_loc_checks import RowsWritten
from triage.sglang.allocator.ledger_hooks import LedgerHooks
from triage.sglang.allocator.slot_checks import last_slots
from triage.sglang.allocator.tree import Flat, TreeTrap
from triage.sglang.traps import Traps

PAGE = 16


@pytest.fixture
def traps(dumps):
    return Traps(DumpStore(dumps), tuple(FAMILIES))


@pytest.fixture
def pools(runtime, traps):
    """Requests 1 and 2 of 20 and 41 tokens: `(allocator, request pool)` with the hooks' objects."""
    allocator, pool = runtime.token_to_kv_pool_allocator, runtime.req_to_token_pool
    allocator.clear()
    pool.req_to_token.zero_()
    traps.launches.note_backend(runtime.target_backend, SimpleNamespace(sliding_window_size=47))
    traps.launches.entries.note_allocator(allocator)
    for row, tokens in ((1, 20), (2, 41)):
        slots = extend(allocator, [0], [tokens], [-1])
        pool.write((row, slice(0, tokens)), slots.to(torch.int32))
    yield allocator, pool
    pool.req_to_token.zero_()
    allocator.clear()


def arguments(before, after, last):
    held, lengths = torch.tensor(before), torch.tensor(after)
    return held, held, lengths, lengths, torch.tensor(last), int((lengths - held).sum())


def extend(allocator, before, after, last):
    return allocator.alloc_extend(*arguments(before, after, last))


def fires(invariant):
    return pytest.raises(TrapError, match=f"^{invariant}: ")


def test_slots_behind_ones_own_last_are_handed_out_in_silence(pools, traps):
    allocator, pool = pools
    mine, other = int(pool.req_to_token[1, 19]), int(pool.req_to_token[2, 40])
    given = arguments([20, 41], [22, 43], [mine, other])
    kind = type(allocator)
    beside = last_slots(kind.alloc_extend, allocator, given, {}, pool.req_to_token)
    assert len(beside) == 2
    traps.slots.after_alloc(allocator, allocator.alloc_extend(*given), "alloc_extend", beside)
    assert traps.counts["allocations"] == 1 and traps.counts["violations"] == 0


def test_last_slots_in_another_order_are_stopped_at_the_allocator(pools, traps):
    # GIVEN two requests that go on, each behind the last slot of the other
    allocator, pool = pools
    mine, other = int(pool.req_to_token[1, 19]), int(pool.req_to_token[2, 40])
    kind = type(allocator)
    given = arguments([20, 41], [22, 43], [other, mine])
    beside = last_slots(kind.alloc_extend, allocator, given, {}, pool.req_to_token)
    # WHEN the allocator returns, THEN I20 says in whose rows the page is
    slots = allocator.alloc_extend(*given)
    with fires("I20") as caught:
        traps.slots.after_alloc(allocator, slots, "alloc_extend", beside)
    assert f"last_loc[0, 0] = {other}" in str(caught.value)
    assert caught.value.evidence.facts["rows_with_that_page"] == [2]


def test_a_request_that_goes_on_in_an_evicted_page_is_stopped_at_the_allocator(pools, traps):
    # GIVEN a request whose last page, partly filled, lost its SWA side
    allocator, pool = pools
    last = int(pool.req_to_token[1, 19])
    mapping = allocator.full_to_swa_index_mapping
    kept, mapping[last] = int(mapping[last]), 0
    given = arguments([20], [22], [last])
    beside = last_slots(type(allocator).alloc_extend, allocator, given, {}, pool.req_to_token)
    mapping[last] = kept  # what the allocator does with it is not the matter here
    # WHEN it is extended, THEN I20 says what it goes on in
    slots = allocator.alloc_extend(*given)
    with fires("I20") as caught:
        traps.slots.after_alloc(allocator, slots, "alloc_extend", beside, lambda: given[4])
    assert "whose SWA side is gone, evicted or freed" in str(caught.value)
    # AND which page that is, so that its history can be told
    assert caught.value.evidence.facts["full pages"] == [last // allocator.page_size]
    assert "full_to_swa[last_loc][0, 0] = 0 is outside" in str(caught.value)


def written(traps, pool, indices, values, write=None):
    kind = type(pool)
    original = functools.partial(write or kind.write)
    RowsWritten(traps.reporter, traps.launches.entries).around_write(
        original, pool, indices, values
    )


def test_a_row_that_goes_on_in_its_page_is_written_in_silence(pools, traps):
    allocator, pool = pools
    slots = extend(allocator, [20], [40], [int(pool.req_to_token[1, 19])]).to(torch.int32)
    written(traps, pool, (1, slice(20, 40)), slots)
    rows, positions = torch.tensor([1]), torch.tensor([39])
    written(traps, pool, (rows, positions), slots[-1:])
    assert traps.counts["violations"] == 0


def test_a_row_that_goes_on_in_anothers_page_is_stopped_as_it_is_written(pools, traps):
    allocator, pool = pools
    slots = extend(allocator, [41], [43], [int(pool.req_to_token[2, 40])]).to(torch.int32)
    with fires("I20") as caught:
        written(traps, pool, (1, slice(20, 22)), slots)
    assert caught.value.evidence.facts["rows_with_that_page"] == [2]


def test_a_row_that_is_written_one_late_is_stopped_as_it_is_written(pools, traps):
    _, pool = pools
    own = pool.req_to_token[1, 19:20] + 1

    def late(pool, indices, values):
        pool.req_to_token[indices[0], indices[1] + 1] = values

    with fires("I20") as caught:
        written(traps, pool, (torch.tensor([1]), torch.tensor([20])), own, late)
    assert "does not hold what was written" in str(caught.value)


def test_a_free_that_unmaps_its_neighbour_is_stopped_at_the_call(pools, traps):
    # GIVEN the ledger's hook on free_swa, and one that clears a page too many
    allocator, pool = pools
    books, mapping = LedgerHooks(traps.reporter.fire_event), allocator.full_to_swa_index_mapping
    first = pool.req_to_token[2, :PAGE].to(torch.int64)

    def greedy(allocator, free_index):
        type(allocator).free_swa(allocator, free_index)
        mapping[free_index + PAGE] = 0

    greedy.__name__ = "free_swa"
    if not hasattr(allocator, "_expand_to_full_pages"):
        pytest.skip("free_swa of this release clears by token: I6 by itself")
    # WHEN the right one frees a page nothing is said, and of the other its neighbour
    books.around_swa_free(type(allocator).free_swa, allocator, first)
    with fires("I6") as caught:
        books.around_swa_free(greedy, allocator, pool.req_to_token[2, PAGE : 2 * PAGE].long())
    assert "unmapped a page that it did not free" in str(caught.value)


@pytest.mark.parametrize("freed", [True, False], ids=["page freed", "page held"])
def test_a_tree_node_without_swa_side_is_a_use_after_free_if_its_page_is_free(pools, traps, freed):
    # GIVEN a live node whose slots have no SWA side any more
    allocator, pool = pools
    slots = pool.req_to_token[2, :PAGE].to(torch.int64)
    books = LedgerHooks(traps.reporter.fire_event)
    books.of(allocator.full_attn_allocator)
    if freed:
        books.around_free(
            type(allocator.full_attn_allocator).free, allocator.full_attn_allocator, slots
        )
    mapping = allocator.full_to_swa_index_mapping
    mapping[slots] = 0
    none = torch.zeros(1, dtype=torch.int64)
    flat = Flat(slots, torch.zeros(PAGE, dtype=torch.int64), none.bool(), none - 1, none, none)
    trap, cache = (
        TreeTrap(traps.reporter, books),
        SimpleNamespace(token_to_kv_pool_allocator=allocator),
    )
    # WHEN the tree is judged
    from triage.invariants.tree import check_nodes

    found = check_nodes(flat.slots, flat.node_of_slot, flat.tombstone, mapping)
    with fires("I16") as caught:
        trap.reporter.fire_event(trap.evidence(cache, flat, found, "evict"))
    # THEN the ledger says whether the page was freed under it
    assert ("used after it was freed" in str(caught.value)) is freed
    facts = dict(caught.value.evidence.facts)
    # AND the full pages of the entries are named, for whoever asks whose hand was on them
    assert facts.pop("full pages") == [int(slots[0]) // PAGE]
    assert bool(facts) is freed
