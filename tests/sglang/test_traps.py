"""Each trap fires and stays silent, at SGLang's real backend with the kernel call replaced.

Long because every trap is sprung at one backend, which the fixtures here build.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from triage.dump.file import read_dump
from triage.dump.flashinfer_api import DECODE
from triage.dump.store import DumpStore
from triage.errors import BrokenLifecycle, OutOfBounds, StaleSWAState, TableForm, WrongIndexSpace
from triage.replay.eager import run_eager
from triage.sglang.launch.call import AttentionCall
from triage.sglang.traps import Traps

PAGE = 16
SWA_PAGES = 34


class ForwardBatch(SimpleNamespace):
    """SGLang's can be weakly referenced, a bare namespace cannot."""


class Batch:
    """Two requests of 40 and 70 tokens on the real pools, pages chosen by hand."""

    def __init__(self, runtime, traps):
        self.runtime, self.traps = runtime, traps
        self.pool = runtime.token_to_kv_pool
        self.backend = runtime.target_backend
        table = runtime.req_to_token_pool.req_to_token
        table.zero_()
        mapping = self.pool.full_to_swa_index_mapping
        mapping[:-1] = 0
        self.full = torch.tensor([[5, 6, 7, 0, 0], [11, 12, 13, 14, 15]])
        self.swa = torch.tensor([[3, 2, 1, 0, 0], [0, 4, 9, 8, 10]])
        for row in range(2):
            for column in range(5):
                at = slice(column * PAGE, (column + 1) * PAGE)
                table[row + 1, at] = self.slots(self.full[row, column]).to(torch.int32)
                if self.swa[row, column] > 0:
                    mapping[self.slots(self.full[row, column])] = self.slots(self.swa[row, column])
        self.forward_batch = ForwardBatch(
            forward_mode=SimpleNamespace(
                name="DECODE", is_decode=lambda: True, is_target_verify=lambda: False
            ),
            batch_size=2,
            spec_info=None,
            seq_lens=None,
            req_pool_indices=torch.tensor([1, 2]),
        )
        self.lengths = torch.tensor([40, 70], dtype=torch.int32)
        traps.launches.forget_tables(self.backend)

    @staticmethod
    def slots(page):
        return page * PAGE + torch.arange(PAGE)

    def launch(self, table, *, layer_id=0, **changed):
        call = self.launched(table, layer_id=layer_id, **changed)
        layer = SimpleNamespace(layer_id=layer_id)
        with self.traps.launches.entered(self.backend, layer, self.forward_batch):
            self.traps.launches.host_check.before_launch(call)

    def replacements(self, call, layer_id=0):
        layer = SimpleNamespace(layer_id=layer_id)
        with self.traps.launches.entered(self.backend, layer, self.forward_batch):
            return self.traps.launches.replacements(call.api, call.arguments)

    def launched(self, table, *, layer_id=0, window_left=47, **changed):
        key, value = self.pool.get_kv_buffer(layer_id)
        kv = tuple(t.view(-1, PAGE, 1, 8).permute(0, 2, 1, 3) for t in (key, value))
        arguments = {
            "query": torch.zeros(2, 1, 8, dtype=torch.float16),
            "kv_cache": kv,
            "workspace_buffer": torch.zeros(1),
            "block_tables": table,
            "seq_lens": self.lengths,
            "max_seq_len": 256,
            "window_left": window_left,
            **changed,
        }
        if not hasattr(self.forward_batch, "token_to_kv_pool"):
            self.forward_batch.token_to_kv_pool = self.pool
        return AttentionCall(DECODE, arguments)


@pytest.fixture
def batch(runtime, dumps):
    traps = Traps(DumpStore(dumps))
    return Batch(runtime, traps)


def int32(rows):
    return torch.tensor(rows, dtype=torch.int32)


RIGHT = [[3, 2, 1, 0, 0], [0, 4, 9, 8, 10]]


def test_the_right_table_passes_and_its_unspecified_columns_are_never_looked_at(batch):
    batch.launch(int32([[3, 2, 1, -7, 2**31 - 1], [0, 4, 9, 8, 10]]))
    assert batch.traps.counts["tables"] == 1
    assert batch.traps.counts["violations"] == 0


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (SWA_PAGES + 1, "= 35 is outside [1, 35), expected 9"),
        (-1, "= -1 is outside [1, 35), expected 9"),
        (2**31 - 1, "= 2147483647 is outside [1, 35), expected 9"),
        (0, "= 0 is outside [1, 35), expected 9"),
    ],
    ids=["one past the end", "negative", "int32 limit", "dummy page in the window"],
)
def test_an_id_outside_the_pool_is_named_with_its_range(batch, bad, says):
    with pytest.raises(OutOfBounds) as caught:
        batch.launch(int32([[3, 2, 1, 0, 0], [0, 4, bad, 8, 10]]))
    message = str(caught.value)
    assert f"block_tables[1, 2] {says} of request 2" in message
    assert "layer 0" in message and "swa pool" in message and "DECODE" in message


def test_a_graphs_metadata_whose_forward_runs_outside_a_graph_awaits_no_check_of_the_device(batch):
    # GIVEN metadata that announces a graph, whose check runs on the device
    batch.traps.launches.forget_tables(batch.backend, graph=True)
    # WHEN the launch comes outside capture, and is checked by the host
    batch.launch(int32(RIGHT))
    # THEN nothing is awaited, so no heartbeat is missed; a replay, without launches, awaits one
    watching = batch.traps.launches.watching
    assert watching.take_expected() is False
    batch.traps.launches.forget_tables(batch.backend, graph=True)
    assert watching.take_expected() is True


def test_a_draft_in_a_graph_is_awaited_though_its_target_was_checked_by_the_host(batch):
    # GIVEN a step whose draft is replayed from a graph
    batch.traps.launches.forget_tables(batch.runtime.draft_backend, graph=True)
    # WHEN the target behind it is launched outside a graph, in mode `raise`
    batch.traps.launches.forget_tables(batch.backend)
    batch.launch(int32(RIGHT))
    # THEN what the draft's graph found is still brought to the host with this step
    assert batch.traps.launches.watching.take_expected() is True


def test_a_dump_holds_the_pages_that_the_launch_reads_if_asked(batch):
    # GIVEN a pool with values of its own on every page, and a dump that is to hold them
    batch.traps.launches.host_check.with_kv = True
    key, value = batch.pool.get_kv_buffer(0)
    key.copy_(torch.arange(key.numel()).reshape(key.shape) % 251)
    value.copy_(-key)
    # WHEN a launch is stopped, with one id inside the cache and one outside it wrong
    table = int32([[3, 2, 1, 0, 0], [0, 4, 7, SWA_PAGES + 1, 10]])
    with pytest.raises(WrongIndexSpace) as caught:
        batch.launch(table)
    # THEN exactly the visible pages inside the cache are there, those of the bad row first
    dump = read_dump(Path(caught.value.note.splitlines()[0].removeprefix("dump: ")))
    kv = dump.kv
    assert list(kv["pages"]) == [4, 7, 10, 3, 2, 1]
    pages = key.view(-1, PAGE, 1, 8).permute(0, 2, 1, 3)
    assert np.array_equal(kv["k"], pages[torch.from_numpy(kv["pages"])].numpy())
    assert np.array_equal(kv["v"], -kv["k"])
    # AND a replay computes on them
    assert "KV cache" not in run_eager(dump).figures["synthesised"]


def test_an_id_in_range_that_is_another_pools_is_found(batch):
    with pytest.raises(WrongIndexSpace) as caught:
        batch.launch(int32([[5, 6, 7, 0, 0], [11, 12, 13, 14, 15]]))
    assert "block_tables[0, 0] = 5, expected 3 of request 1" in str(caught.value)
    assert "and 6 more in 2 rows" in str(caught.value)


def test_the_full_table_is_right_on_a_full_layer(batch):
    batch.launch(int32([[5, 6, 7, 9, 9], [11, 12, 13, 14, 15]]), layer_id=5, window_left=-1)
    assert batch.traps.counts["violations"] == 0


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (torch.tensor(RIGHT), "int64"),
        (int32([[*row, 0] for row in RIGHT])[:, :5], "strides"),
    ],
    ids=["int64", "sliced"],
)
def test_a_table_the_kernel_would_misread_is_refused(batch, table, says):
    with pytest.raises(TableForm) as caught:
        batch.launch(table)
    assert says in str(caught.value)


def test_a_table_narrower_than_a_sequence_is_refused(batch):
    with pytest.raises(TableForm):
        batch.launch(int32([[3, 2, 1, 0], [0, 4, 9, 8]]))


@pytest.mark.parametrize("last", [40, 80], ids=["of the queries", "of the keys"])
def test_query_offsets_end_where_the_query_tensor_does(batch, last):
    # GIVEN a chunk of 40 tokens of one request behind a prefix of as many, in one host read
    batch.lengths = int32([80])
    batch.forward_batch.req_pool_indices = torch.tensor([2])
    batch.forward_batch.extend_num_tokens = 40
    options = {
        "layer_id": 5,
        "window_left": -1,
        "query": torch.zeros(40, 1, 8, dtype=torch.float16),
        "cum_seq_lens_q": int32([0, last]),
        "max_q_len": 80,
    }
    table = int32([[11, 12, 13, 14, 15]])
    # WHEN the offsets are those of the queries or of the keys
    if last == 40:
        batch.launch(table, **options)
        assert batch.traps.counts["host reads"] == 1
        return
    with pytest.raises(TableForm) as caught:
        batch.launch(table, **options)
    # THEN those of the keys are refused
    assert "I12" in str(caught.value)
    assert "cum_seq_lens_q[1, 0] = 80 is outside [40, 41)" in str(caught.value)


def test_a_decode_writes_at_the_slot_that_its_row_names(batch):
    # GIVEN the rows of both requests, and a write that is one slot behind for the second
    own = [batch.slots(7)[7], batch.slots(15)[5]]
    batch.forward_batch.out_cache_loc = torch.tensor(own)
    batch.launch(int32(RIGHT))
    assert batch.traps.counts["host reads"] == 1
    batch.traps.launches.forget_tables(batch.backend)
    batch.forward_batch.out_cache_loc = torch.tensor([own[0], own[1] - 1])
    # WHEN it is launched, THEN the slot and the right one are named
    with pytest.raises(BrokenLifecycle) as caught:
        batch.launch(int32(RIGHT))
    assert f"out_cache_loc[1, 0] = {own[1] - 1}, expected {own[1]}" in str(caught.value)


def test_a_row_that_leaves_its_page_is_stopped_at_the_launch(batch):
    table = batch.backend.req_to_token
    table[1, 39] = batch.slots(15)[6]
    batch.forward_batch.out_cache_loc = torch.tensor([batch.slots(15)[6], batch.slots(15)[5]])
    with pytest.raises(OutOfBounds) as caught:
        batch.launch(int32(RIGHT))
    assert caught.value.evidence.invariant == "I20"
    assert caught.value.evidence.facts["rows_with_that_page"] == [1, 2]


def test_stale_swa_state_is_an_error_in_the_log_first_and_stops_at_the_first_wrong_id(
    batch, monkeypatch, caplog
):
    monkeypatch.setattr(batch.backend, "_swa_kv_pool", None)
    batch.launch(int32(RIGHT))
    assert "_swa_kv_pool is None" in caplog.text
    with pytest.raises(StaleSWAState):
        batch.launch(int32([[5, 6, 7, 0, 0], [11, 12, 13, 14, 15]]))


def test_layers_of_one_forward_share_one_host_read(batch):
    table = int32(RIGHT)
    for layer_id in (0, 1, 2, 3, 4, 6, 7):
        batch.launch(table, layer_id=layer_id)
    assert batch.traps.counts["launches"] == 7
    assert batch.traps.counts["host reads"] == 1


def test_the_check_makes_exactly_one_host_read(batch):
    from triage.device.syncs import count_syncs

    with count_syncs() as counts:
        batch.launch(int32(RIGHT))
    assert counts.total_host_reads == 1, counts.host_reads


def test_a_launch_under_simulated_capture_is_contained_not_raised(batch, monkeypatch):
    # GIVEN a launch that is recorded into a graph, with a table of another pool, partly outside it
    batch.traps.launches.watching.prepare(batch.backend)
    monkeypatch.setattr("triage.device.capture.capturing", lambda: True)
    wrong = int32([[5, 99, 7, 0, 0], [11, 12, 13, 14, -1]])
    call = batch.launched(wrong)
    # WHEN it is asked what the launch must be given
    given = batch.replacements(call)
    # THEN nothing is raised, and what would fault is gone; another's page in the pool stays
    assert given[0].tolist() == [[5, 0, 7, 0, 0], [11, 12, 13, 14, 0]]
    assert batch.traps.counts["tables under capture"] == 1


def test_a_launch_under_simulated_capture_without_a_watch_is_not_covered(batch, monkeypatch):
    monkeypatch.setattr("triage.device.capture.capturing", lambda: True)
    call = batch.launched(int32([[5, 6, 7, 0, 0], [11, 12, 13, 14, 15]]))
    assert batch.replacements(call) is None
    assert batch.traps.counts["launches not covered"] == 1


def test_the_dump_is_written_and_readable(batch, dumps):
    with pytest.raises(WrongIndexSpace) as caught:
        batch.launch(int32([[5, 6, 7, 0, 0], [11, 12, 13, 14, 15]]))
    (path,) = dumps.glob("*.msgpack")
    assert f"dump: {path}" in str(caught.value)
    dump = read_dump(path)
    assert dump.fault.invariant == "I2" and dump.fault.total == 7
    assert dump.tables is not None
    assert dump.tables.page_table.row(0).tolist()[:3] == [5, 6, 7]


def test_an_unwritable_directory_never_hides_the_fault(batch, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    batch.traps.reporter.store.directory = in_the_way / "dumps"
    with pytest.raises(WrongIndexSpace) as caught:
        batch.launch(int32([[5, 6, 7, 0, 0], [11, 12, 13, 14, 15]]))
    assert "no dump was written: " in str(caught.value)


class TestAllocator:
    """I20 at the real SWATokenToKVPoolAllocator; the bound is size + page_size."""

    def test_the_legal_last_page_passes(self, batch, runtime):
        allocator = runtime.token_to_kv_pool_allocator
        last = self.slots_of(allocator.size_full // PAGE)
        allocator.full_to_swa_index_mapping[last] = self.slots_of(allocator.size_swa // PAGE)
        batch.traps.slots.after_alloc(allocator, last, "alloc_extend")
        assert batch.traps.counts["violations"] == 0

    @pytest.mark.parametrize("side", ["full", "swa"])
    def test_one_page_past_it_is_named(self, batch, runtime, side):
        allocator = runtime.token_to_kv_pool_allocator
        size = allocator.size_full if side == "full" else allocator.size_swa
        full = self.slots_of(allocator.size_full // PAGE + (side == "full"))[:1]
        if side == "swa":
            allocator.full_to_swa_index_mapping[full] = size + PAGE
        with pytest.raises(OutOfBounds) as caught:
            batch.traps.slots.after_alloc(allocator, full, "alloc_decode")
        assert f"= {size + PAGE} is outside [{PAGE}, {size + PAGE})" in str(caught.value)
        assert "alloc_decode" in str(caught.value) and f"{side} pool" in str(caught.value)

    def test_a_full_pool_is_not_a_fault(self, batch, runtime):
        batch.traps.slots.after_alloc(runtime.token_to_kv_pool_allocator, None, "alloc_extend")

    @staticmethod
    def slots_of(page):
        return page * PAGE + torch.arange(PAGE)
