"""Checks of SGLang's own numbers, each through its hook on a real class: loud, and silent.

Long because it follows the list of hooks: each is shown loud and silent.
"""

from __future__ import annotations

import copy
import functools
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch

from triage.dump.store import DumpStore
from triage.errors import BrokenLifecycle, TrapError
from triage.invariants.catalogue import FAMILIES
from triage.sglang.allocator.allocation_checks import AllocationChecks
from triage.sglang.allocator.frontier import Frontier
from triage.sglang.allocator.ledger_hooks import LedgerHooks
from triage.sglang.launch.graph_inputs import GraphInputs
from triage.sglang.launch.metadata import Metadata, offsets
from triage.sglang.scheduler.admission import Admission
from triage.sglang.traps import Traps

PAGE = 16


@pytest.fixture
def traps(dumps):
    return Traps(DumpStore(dumps), tuple(FAMILIES))


@contextmanager
def hooked(owner, name, around):
    """`around` on `owner.name`, as SGLang's registry binds it."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def hook(*args, **kwargs):
        return around(original, *args, **kwargs)

    with mock.patch.object(owner, name, hook):
        yield


def fires(invariant):
    return pytest.raises(TrapError, match=f"^({invariant}): ")


# -- the allocator -----------------------------------------------------------------------


@pytest.fixture
def allocation(runtime, traps):
    """`extend(tokens)` of one request by SGLang's allocator, with the ledger and I8, I14 on it."""
    books = LedgerHooks(traps.reporter.fire_event)
    handing = AllocationChecks(traps.reporter, books)
    allocator = runtime.token_to_kv_pool_allocator
    allocator.clear()
    handing.around_row_alloc(lambda table: None, runtime.req_to_token_pool)

    def extend(tokens):
        zero, length, none = torch.tensor([0]), torch.tensor([tokens]), torch.tensor([-1])
        one_pool = type(allocator.full_attn_allocator)
        with (
            hooked(one_pool, "alloc_extend", books.around_alloc),
            hooked(type(allocator), "alloc_extend", handing.around_alloc),
        ):
            return allocator.alloc_extend(zero, zero, length, length, none, tokens)

    yield extend
    allocator.clear()


def test_slots_whose_mapping_this_call_wrote_are_handed_out_in_silence(allocation):
    assert len(allocation(3 * PAGE)) == 3 * PAGE


def test_a_slot_with_an_older_mapping_is_stopped_as_it_is_handed_out(allocation, runtime):
    # GIVEN an allocator that forgets to write the mapping of a page
    mapping = runtime.token_to_kv_pool.full_to_swa_index_mapping
    allocator = type(runtime.token_to_kv_pool_allocator)
    original = allocator.alloc_extend

    @functools.wraps(original)
    def forgetful(*args, **kwargs):
        slots = original(*args, **kwargs)
        mapping[slots[:PAGE]] = 7 * PAGE + torch.arange(PAGE)
        return slots

    # WHEN it hands out slots, THEN the first of them is named
    with mock.patch.object(allocator, "alloc_extend", forgetful), fires("I8"):
        allocation(2 * PAGE)


def test_a_request_that_outgrows_its_row_is_stopped_before_it_gets_the_slots(allocation, runtime):
    width = runtime.req_to_token_pool.req_to_token.shape[1]
    allocation(width)
    with fires("I14"):
        allocation(width + 1)


def test_a_table_with_too_few_rows_is_named_with_the_row(runtime, traps):
    handing = AllocationChecks(traps.reporter, LedgerHooks(traps.reporter.fire_event))
    pool = runtime.req_to_token_pool
    request = SimpleNamespace(req_pool_idx=None, is_chunked=0, kv=None)
    rows = len(pool.req_to_token)

    def given(table, requests):
        return [rows - 1]

    assert handing.around_row_alloc(given, pool, [request]) == [rows - 1]
    short = copy.copy(pool)
    short.req_to_token = pool.req_to_token[:-1]
    with fires("I14"):
        handing.around_row_alloc(given, short, [request])


def test_one_page_at_the_start_of_two_requests_needs_a_tree(runtime, traps):
    # GIVEN two rows that hold the same page first, and pages of their own behind it
    books, allocator = LedgerHooks(traps.reporter.fire_event), runtime.token_to_kv_pool_allocator
    allocator.clear()
    ledger = books.of(allocator.full_attn_allocator).ledger
    ledger.alloc(np.arange(PAGE, 6 * PAGE), where="alloc")
    table = torch.zeros(3, 4 * PAGE, dtype=torch.int32)
    for row, pages in ((1, (1, 2, 3)), (2, (1, 4, 5))):
        for column, page in enumerate(pages):
            table[row, column * PAGE] = page * PAGE
    both, lengths = torch.tensor([1, 2]), torch.tensor([3 * PAGE, 3 * PAGE])
    # WHEN nobody has a tree, it is an alias; with one it is a prefix, unless it comes later
    with fires("I5"):
        books.forward(allocator, both, lengths, table)
    books.tree_seen()
    books.forward(allocator, both, lengths, table)
    table[2, 0], table[2, PAGE] = 4 * PAGE, 2 * PAGE
    with fires("I5"):
        books.forward(allocator, both, lengths, table)


# -- the window ----------------------------------------------------------------------------


def test_the_frontier_may_follow_the_window_and_not_overtake_it(runtime, traps, allocation):
    # GIVEN a request of 160 tokens and a window of 48
    from triage.lab.request import LabRequest, _evict

    request = LabRequest(0, 160, 8, length=160, reported=160, _row=1)
    if hasattr(request.kv, "holds_kv"):
        request.kv.req_pool_idx = 1
    slots = allocation(160)
    runtime.req_to_token_pool.req_to_token[1, :160] = slots.to(torch.int32)
    frontier = Frontier(traps.reporter)
    from sglang.srt.mem_cache import common

    with hooked(common, "free_swa_out_of_window_slots", frontier.around_function):
        # WHEN it is evicted up to the window of its next query, nothing is said
        _evict(runtime, request, 160)
        # WHEN the eviction is told that it is further than it is
        with fires("I15"):
            _evict(runtime, request, 200)
    allocator = runtime.token_to_kv_pool_allocator
    runtime.req_to_token_pool.req_to_token.zero_()
    allocator.clear()


def test_a_retracted_request_starts_again_at_token_0(traps):
    # GIVEN a request of SGLang's
    from sglang.srt.managers.schedule_batch import Req
    from sglang.srt.sampling.sampling_params import SamplingParams

    request = Req("0", "", [1, 2, 3], SamplingParams())
    # WHEN it is retracted, THEN nothing is said, unless its frontier stays where it was
    with hooked(Req, "reset_for_retract", Frontier(traps.reporter).around_retract):
        request.reset_for_retract()

    def forgetful(req):
        req.kv = SimpleNamespace(swa_evicted_seqlen=64)

    with (
        mock.patch.object(Req, "reset_for_retract", forgetful),
        hooked(Req, "reset_for_retract", Frontier(traps.reporter).around_retract),
        fires("I15"),
    ):
        request.reset_for_retract()


# -- metadata ------------------------------------------------------------------------------


class Forwards:
    """One request of `length` tokens on real pools, and decodes of it through the hook."""

    def __init__(self, runtime, traps, allocation, length):
        from triage.lab.forwards import Forwards as Real

        self.runtime, self.traps = runtime, traps
        self.metadata = Metadata(traps.launches)
        self.backend = runtime.target_backend
        traps.launches.note_backend(self.backend, SimpleNamespace(sliding_window_size=47))
        slots = allocation(length)
        runtime.req_to_token_pool.req_to_token[1, :length] = slots.to(torch.int32)
        self.slots, self.length = slots, length
        self.real = Real(runtime, None, 8)

    def batch(self, mode="DECODE", length=None):
        from triage.lab.backends import bind_index_plan

        row = SimpleNamespace(req_pool_idx=1, length=length or self.length, rid="1")
        batch = self.real._batch(
            getattr(self.real.mode, mode), [row], self.slots[-1:], num_tokens=1
        )
        batch.token_to_kv_pool = self.runtime.token_to_kv_pool
        bind_index_plan(self.backend, batch)
        return batch

    def build(self, batch):
        with hooked(type(self.backend), "init_forward_metadata", self.metadata.around_eager):
            self.backend.init_forward_metadata(batch)


@pytest.fixture
def forwards(runtime, traps, allocation):
    made = functools.partial(Forwards, runtime, traps, allocation)
    yield made
    runtime.req_to_token_pool.req_to_token.zero_()


def test_metadata_serves_its_batch_one_copy_and_nobody_else(forwards):
    # GIVEN metadata that was built for a batch
    made = forwards(80)
    first, copied, other = made.batch(), made.batch(), made.batch()
    made.build(first)
    fresh = made.metadata.freshness.stale
    # WHEN a copy of the batch is launched first, then the batch itself, THEN both are served
    assert fresh(made.backend, copied) is None
    assert fresh(made.backend, first) is None
    # AND another forward is not
    assert fresh(made.backend, other).invariant == "I11"
    made.build(other)
    assert fresh(made.backend, other) is None


def test_a_row_that_needs_more_columns_than_there_are_is_stopped_before_it_is_filled(forwards):
    made = forwards(80)
    made.backend.speculative_num_draft_tokens = 4
    limit = made.backend.max_num_pages * PAGE
    made.metadata._fits(made.backend, made.batch("TARGET_VERIFY", limit - 4))
    with fires("I13"):
        made.build(made.batch("TARGET_VERIFY", limit - 3))


def test_a_hole_in_the_window_is_seen_when_the_metadata_is_built(forwards, runtime):
    made = forwards(80)
    made.build(made.batch())
    mapping = runtime.token_to_kv_pool.full_to_swa_index_mapping
    mapping[made.slots[31]] = 0  # below the window of 48
    made.build(made.batch())
    mapping[made.slots[33]] = 0
    with fires("I15"):
        made.build(made.batch())


def test_a_table_of_slots_is_named_when_it_is_built(forwards):
    made = forwards(80)
    original = made.metadata.around_eager

    def undivided(build, backend, batch):
        def wrong(*args):
            build(*args)
            backend.forward_metadata.page_table *= PAGE

        return original(wrong, backend, batch)

    made.metadata.around_eager = undivided
    with fires("I22"):
        made.build(made.batch())


def test_expensive_checks_run_every_n_th_forward(forwards, runtime):
    made = forwards(80)
    made.metadata.every = 2
    runtime.token_to_kv_pool.full_to_swa_index_mapping[made.slots[-1]] = 0
    made.build(made.batch())
    with fires("I15"):
        made.build(made.batch())


def test_more_slots_than_a_graphs_buffer_holds_are_seen_before_the_replay(forwards):
    # GIVEN metadata of a graph that was captured for one row of one token
    made = forwards(80)
    made.backend.init_cuda_graph_state(2, 2)
    batch = made.batch()
    batch.positions = torch.zeros(1, dtype=torch.int64)
    with hooked(type(made.backend), "init_forward_metadata_out_graph", made.metadata.around_graph):
        made.backend.init_forward_metadata_out_graph(batch, in_capture=True)
        made.backend.init_forward_metadata_out_graph(batch)
        # WHEN a replay brings two slots, THEN the buffer is named
        batch.out_cache_loc = made.slots[-2:]
        with fires("I13"):
            made.backend.init_forward_metadata_out_graph(batch)
    assert made.metadata.freshness.stale(made.backend, made.batch()) is None


def test_a_draft_brings_the_slots_of_all_its_steps_and_metadata_of_one(forwards):
    # GIVEN frozen-KV MTP's batch of three steps, over a graph of one token, as 0.5.14 replays it
    made = forwards(80)
    runner = SimpleNamespace(sliding_window_size=47, is_draft_worker=True)
    made.traps.launches.note_backend(made.backend, runner)
    batch = made.batch()
    metadata = SimpleNamespace(swa_out_cache_loc=made.slots[-1:])
    view = SimpleNamespace(
        forward_mode=batch.forward_mode, spec_info=None, out_cache_loc=made.slots[-3:]
    )
    # THEN it is no buffer that is too small
    with mock.patch.object(made.backend, "forward_metadata", metadata):
        made.metadata._graph_fits(made.backend, view)
        # AND for the same batch of a target it is
        runner.is_draft_worker = False
        made.traps.launches.note_backend(made.backend, runner)
        with fires("I13"):
            made.metadata._graph_fits(made.backend, view)


def test_a_replay_is_a_step_boundary_for_the_ledger_and_a_capture_is_not(forwards, runtime, traps):
    # GIVEN a captured graph, and a request whose first page was freed behind the scheduler
    from triage.sglang.state_hooks import StateHooks

    made, lifecycle = forwards(80), StateHooks(traps)
    allocator = runtime.token_to_kv_pool_allocator
    traps.launches.entries.note_allocator(allocator)
    made.backend.init_cuda_graph_state(2, 2)
    batch = made.batch()
    batch.positions = torch.zeros(1, dtype=torch.int64)
    entry = "init_forward_metadata_out_graph"
    with hooked(type(made.backend), entry, lifecycle._replayed):
        made.backend.init_forward_metadata_out_graph(batch, in_capture=True)
        assert lifecycle.books.agreed == 0
        made.backend.init_forward_metadata_out_graph(batch)
        assert lifecycle.books.agreed == 2
        lifecycle.books.of(allocator.full_attn_allocator).ledger.free(made.slots[:1], where="free")
        with fires("I5|I17"):
            made.backend.init_forward_metadata_out_graph(batch)


def test_slots_that_do_not_fit_their_integers_are_named_at_construction(runtime):
    backend = runtime.target_backend
    runner = SimpleNamespace(token_to_kv_pool=runtime.token_to_kv_pool)
    assert offsets(backend, runner) == []
    narrow = SimpleNamespace(
        req_to_token=backend.req_to_token.to(torch.int8),
        page_size=PAGE,
        max_num_pages=2**30,
    )
    assert [found.invariant for found in offsets(narrow, runner)] == ["I21", "I21"]


# -- graphs, transfers, admission --------------------------------------------------------------


def test_padding_of_a_graph_is_inert_unless_the_refill_forgets_a_row(traps):
    from sglang.srt.model_executor.cuda_graph_buffer_registry import CudaGraphBufferRegistry

    from triage.lab.bugs.inputs import _padding_kept, replay_padded

    bench = SimpleNamespace(note=lambda sentence: None)
    inputs = GraphInputs(traps.reporter)
    with hooked(CudaGraphBufferRegistry, "fill_from", inputs.around_registry):
        replay_padded(bench)
        assert traps.counts["padded replays"] == 1
        with _padding_kept(lambda: None), fires("I10"):
            replay_padded(bench)


def test_a_transfer_pairs_lists_of_one_length(runtime, traps):
    from sglang.srt.disaggregation.common import utils
    from sglang.srt.managers.cache_controller import HiCacheController

    from triage.lab.bugs.inputs import _a_page_short, _load_back

    admission = Admission(traps.reporter)
    with hooked(utils, "group_concurrent_contiguous", admission.around_pairing):
        utils.group_concurrent_contiguous(np.array([1, 2]), np.array([5, 6]))
        utils.group_concurrent_contiguous(np.array([1, 2]), np.array([], dtype=int))
        with fires("I24"):
            utils.group_concurrent_contiguous(np.array([1, 2, 3, 7]), np.array([5, 6]))
        # AND a page of the other server is written once; pages it does not keep are all page 0
        utils.group_concurrent_contiguous(np.array([1, 2, 3]), np.array([0, 0, 6]))
        for pages in ([5, 7, 5], [5, 6, -1]):
            with fires("I24"):
                utils.group_concurrent_contiguous(np.array([1, 2, 3]), np.array(pages))
    bench = SimpleNamespace(runtime=runtime, note=lambda sentence: None)
    runtime.token_to_kv_pool_allocator.clear()
    with hooked(HiCacheController, "load", admission.around_host_cache):
        _load_back(bench)
        with _a_page_short(lambda: None), fires("I24"):
            _load_back(bench)
    runtime.token_to_kv_pool_allocator.clear()


def test_admission_reserves_whole_pages(traps):
    adder = SimpleNamespace(page_size=PAGE, cur_rem_token_offset=100)

    def charge(self, prefix_len, extend_input_len, max_new_tokens, spare=0):
        self.cur_rem_token_offset += extend_input_len + spare

    admission = Admission(traps.reporter)
    admission.around_budget(charge, adder, 0, 3 * PAGE, 8)
    admission.around_budget(charge, adder, 0, 13, 8, spare=PAGE)
    with pytest.raises(BrokenLifecycle, match=r"13 \+ 0 tokens take 16 in pages, 13 are reserved"):
        admission.around_budget(charge, adder, 0, 13, 8)
