"""Each trap fires and stays silent, at SGLang's real backend with the kernel call replaced."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from triage.call import DECODE, AttentionCall
from triage.dump import read_dump
from triage.errors import OutOfBounds, StaleSWAState, TableForm, WrongIndexSpace
from triage.store import DumpStore
from triage.traps import Traps

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
        traps.forget_tables(self.backend)

    @staticmethod
    def slots(page):
        return page * PAGE + torch.arange(PAGE)

    def launch(self, table, *, layer_id=0, **changed):
        call = self.launched(table, layer_id=layer_id, **changed)
        layer = SimpleNamespace(layer_id=layer_id)
        with self.traps.entered(self.backend, layer, self.forward_batch):
            self.traps.before_launch(call)

    def replacements(self, call, layer_id=0):
        layer = SimpleNamespace(layer_id=layer_id)
        with self.traps.entered(self.backend, layer, self.forward_batch):
            return self.traps.replacements(call.api, call.arguments)

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
    from triage.syncs import count_syncs

    with count_syncs() as counts:
        batch.launch(int32(RIGHT))
    assert counts.total_host_reads == 1, counts.host_reads


def test_a_launch_under_simulated_capture_is_contained_not_raised(batch, monkeypatch):
    # GIVEN a launch that is recorded into a graph, with a table of another pool
    batch.traps.watching.prepare(batch.backend)
    monkeypatch.setattr("triage.capture.capturing", lambda: True)
    wrong = int32([[5, 6, 7, 0, 0], [11, 12, 13, 14, 15]])
    call = batch.launched(wrong)
    # WHEN it is asked what the launch must be given
    given = batch.replacements(call)
    # THEN nothing is raised and no entry that a query can see is left; 11 lies before the window
    assert given[0].tolist() == [[0, 0, 0, 0, 0], [11, 0, 0, 0, 0]]
    assert batch.traps.counts["tables under capture"] == 1


def test_a_launch_under_simulated_capture_without_a_watch_is_not_covered(batch, monkeypatch):
    monkeypatch.setattr("triage.capture.capturing", lambda: True)
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
    batch.traps.store.directory = in_the_way / "dumps"
    with pytest.raises(WrongIndexSpace) as caught:
        batch.launch(int32([[5, 6, 7, 0, 0], [11, 12, 13, 14, 15]]))
    assert "no dump was written: " in str(caught.value)


class TestAllocator:
    """I20 at the real SWATokenToKVPoolAllocator; the bound is size + page_size."""

    def test_the_legal_last_page_passes(self, batch, runtime):
        allocator = runtime.token_to_kv_pool_allocator
        last = self.slots_of(allocator.size_full // PAGE)
        allocator.full_to_swa_index_mapping[last] = self.slots_of(allocator.size_swa // PAGE)
        batch.traps.after_alloc(allocator, last, "alloc_extend")
        assert batch.traps.counts["violations"] == 0

    @pytest.mark.parametrize("side", ["full", "swa"])
    def test_one_page_past_it_is_named(self, batch, runtime, side):
        allocator = runtime.token_to_kv_pool_allocator
        size = allocator.size_full if side == "full" else allocator.size_swa
        full = self.slots_of(allocator.size_full // PAGE + (side == "full"))[:1]
        if side == "swa":
            allocator.full_to_swa_index_mapping[full] = size + PAGE
        with pytest.raises(OutOfBounds) as caught:
            batch.traps.after_alloc(allocator, full, "alloc_decode")
        assert f"= {size + PAGE} is outside [{PAGE}, {size + PAGE})" in str(caught.value)
        assert "alloc_decode" in str(caught.value) and f"{side} pool" in str(caught.value)

    def test_a_full_pool_is_not_a_fault(self, batch, runtime):
        batch.traps.after_alloc(runtime.token_to_kv_pool_allocator, None, "alloc_extend")

    @staticmethod
    def slots_of(page):
        return page * PAGE + torch.arange(PAGE)
