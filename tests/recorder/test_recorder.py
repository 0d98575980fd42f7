"""The ring against a model that keeps every launch whole."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from triage.device.checker import DeviceChecker
from triage.device.recorder import FlightRecorder, LaneSpec, window_columns
from triage.device.syncs import count_syncs
from triage.dump.history import first_offence
from triage.invariants.reads import IndexSpace

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
PAGE, WIDTH, REQUESTS, ROWS = 4, 12, 9, 6
WINDOW = 7

FULL = LaneSpec("full", PAGE, ROWS, WIDTH, requests=REQUESTS, changes=64)
SWA = LaneSpec("swa", PAGE, ROWS, WIDTH, window_columns=window_columns(WINDOW, 2, PAGE))


def synchronize() -> None:
    if CUDA:
        torch.cuda.synchronize()


class Traffic:
    """Requests that come, grow by a token a launch, swap rows and leave; some ids are wild."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.tables = np.zeros((REQUESTS, WIDTH), dtype=np.int32)
        self.lengths: dict[int, int] = {}

    def step(self):
        """(table, lengths, requests) of one launch, padding included."""
        free = [r for r in range(1, REQUESTS) if r not in self.lengths]
        while free and len(self.lengths) < ROWS - 1 and self.draw.random() < 0.5:
            new = free.pop()
            self.lengths[new] = self.draw.randint(1, 3 * PAGE)
            self.tables[new] = [self.draw.randint(1, 99) for _ in range(WIDTH)]
        for request in list(self.lengths):
            self.lengths[request] += 1
            if self.lengths[request] > PAGE * WIDTH or self.draw.random() < 0.1:
                del self.lengths[request]
        if self.lengths and self.draw.random() < 0.2:
            wild = self.draw.choice(list(self.lengths))
            self.tables[wild, self.draw.randrange(WIDTH)] = self.draw.choice([-5, 2**31 - 1, 0])
        rows = list(self.lengths)
        self.draw.shuffle(rows)
        padded = [*rows, *[0] * self.draw.randint(1, ROWS - len(rows))]
        lengths = [self.lengths.get(request, 1) for request in padded]
        return (
            torch.from_numpy(self.tables[padded].copy()),
            torch.tensor(lengths, dtype=torch.int32),
            torch.tensor(padded, dtype=torch.int64),
        )


def live_columns(length: int) -> int:
    return -(-min(max(length, 0), PAGE * WIDTH) // PAGE)


@pytest.mark.parametrize("interpret", [False, True], ids=["twin", "kernel"])
@pytest.mark.parametrize("seed", range(6))
def test_every_kept_launch_reads_back_as_it_was(seed, interpret):
    # GIVEN a ring of 16 slots, and 40 launches of each space, more than it holds
    recorder = FlightRecorder(DEVICE, [FULL, SWA], slots=16, interpret=interpret)
    traffic = Traffic(seed)
    seen = []
    for number in range(40):
        table, lengths, requests = traffic.step()
        for space, window in (("full", -1), ("swa", WINDOW)):
            queries = 1 + number % 2
            tag = recorder.tag(layer=number % 3, forward_mode="DECODE")
            assert recorder.record(
                space,
                table.to(DEVICE),
                lengths.to(DEVICE),
                window_left=window,
                q_len=queries,
                req_pool_indices=requests.to(DEVICE),
                tag=tag,
            )
            seen.append((space, table, lengths, requests, window, queries, number % 3))
    # WHEN the ring is read
    synchronize()
    entries = recorder.entries()
    # THEN it holds the newest 16 of each space, in order, as they were
    assert [entry["sequence"] for entry in entries] == list(range(80 - 32, 80))
    lost = 0
    for entry, (space, table, lengths, requests, window, queries, layer) in zip(
        entries, seen[-32:], strict=True
    ):
        assert (entry["space"], entry["layer"]) == (space, layer)
        assert entry["cache_seqlens"].tolist() == lengths.tolist()
        assert entry["req_pool_indices"].tolist() == requests.tolist()
        assert entry["q_len"].tolist() == [queries] * len(lengths)
        assert not entry["torn"]
        if entry["lost"]:
            lost += 1
            continue
        for row, (request, length) in enumerate(
            zip(requests.tolist(), lengths.tolist(), strict=True)
        ):
            start, stop = entry["table_offsets"][row : row + 2]
            kept = entry["table_values"][start:stop].tolist()
            first, end = 0, live_columns(length)
            if space == "swa":
                first = max(max(length - queries - window, 0) // PAGE, end - SWA.window_columns)
            elif request == 0:
                end = 0  # graph padding: not kept
            assert kept == table[row, first:end].tolist()
    assert lost == 0


def test_a_launch_that_changes_too_much_says_what_is_lost():
    # GIVEN room for 3 changes, and a second launch that changes 4 cells
    spec = LaneSpec("full", PAGE, max_rows=2, max_columns=4, changes=3)
    recorder = FlightRecorder(DEVICE, [spec], slots=8)
    lengths = torch.tensor([8, 8], dtype=torch.int32, device=DEVICE)
    for value in (1, 2, 2):
        table = torch.full((2, 4), value, dtype=torch.int32, device=DEVICE)
        recorder.record("full", table, lengths, window_left=-1)
    # WHEN the ring is read
    synchronize()
    first, second, third = recorder.entries()
    # THEN launches from there on are whole, the ones before have lengths and the reason
    assert third["table_values"].tolist() == second["table_values"].tolist() == [2, 2, 2, 2]
    assert first["table_values"] is None
    assert first["lost"] == "launch 1 changed 4 cells, 3 were kept"
    assert first["cache_seqlens"].tolist() == [8, 8]


def test_an_entry_knows_what_the_checker_had_seen_by_then():
    # GIVEN a checker and a recorder, and a table that goes wrong at the second launch
    checker = DeviceChecker(DEVICE)
    recorder = FlightRecorder(DEVICE, [FULL], slots=4, checker=checker)
    lengths = torch.tensor([5], dtype=torch.int32, device=DEVICE)
    for page in (1, 1000, 1):
        table = torch.full((1, 4), page, dtype=torch.int32, device=DEVICE)
        checker.check_table(table, lengths, IndexSpace("full", PAGE, 100), window_left=-1)
        recorder.record("full", table, lengths, window_left=-1)
    # WHEN the ring is read
    synchronize()
    entries = recorder.entries()
    # THEN the first wrong launch can be told from the later ones
    assert [entry["checker_launch"] for entry in entries] == [0, 1, 2]
    assert [entry["offenders"] for entry in entries] == [0, 2, 2]
    assert first_offence(entries) is entries[1]
    assert first_offence(entries[:1]) is None


@pytest.mark.parametrize(
    ("space", "spoil", "reason"),
    [
        ("draft", lambda t, s: (t, s), "no lane for 'draft'"),
        ("full", lambda t, s: (t[:, ::2], s), "block_tables has column stride 2"),
        ("full", lambda t, s: (t, s.float()), "cache_seqlens is torch.float32"),
        ("full", lambda t, s: (t[:1], s), "cache_seqlens has shape (2,), not (1,)"),
    ],
)
def test_an_unknown_form_is_refused_without_an_exception(space, spoil, reason):
    recorder = FlightRecorder(DEVICE, [FULL], slots=4)
    table = torch.ones(2, 4, dtype=torch.int32, device=DEVICE)
    lengths = torch.ones(2, dtype=torch.int32, device=DEVICE)
    assert not recorder.record(space, *spoil(table, lengths), window_left=-1)
    assert any(reason in text for text in recorder.refused)
    assert recorder.entries() == ()


@pytest.mark.parametrize("interpret", [False, True], ids=["twin", "kernel"])
def test_garbage_stays_inside_the_ring(interpret):
    # GIVEN lengths, requests and queries of any value, and more rows than the ring has
    recorder = FlightRecorder(DEVICE, [FULL, SWA], slots=3, interpret=interpret)
    values = [-(2**31), -1, 0, 1, 5, 2**31 - 1, 47, 48, 49]
    wild = torch.tensor(values, dtype=torch.int32, device=DEVICE)
    table = wild.repeat(12, 1).t().contiguous()
    for space, window in (("full", -1), ("swa", WINDOW), ("swa", 2**31 - 1)):
        for requests in (wild.long(), wild.flip(0), None):
            assert recorder.record(
                space, table, wild, window_left=window, q_len=wild, req_pool_indices=requests
            )
    # WHEN the ring is read
    synchronize()
    entries = recorder.entries()
    # THEN the rows it has room for are there, and the launch's own count of rows
    assert [entry["rows"] for entry in entries] == [9] * 6
    assert all(len(entry["cache_seqlens"]) == ROWS for entry in entries)


def test_memory_follows_the_formula_and_fits_the_largest_server():
    # GIVEN the largest table: 256 rows of 2,048 pages, window 512 in pages of 64
    columns = window_columns(511, 4, 64)
    lanes = [
        LaneSpec("full", 64, 256, 2048, requests=257),
        LaneSpec("swa", 64, 256, 2048, window_columns=columns),
    ]
    recorder = FlightRecorder("cpu", lanes, slots=256)
    # WHEN its memory is added up
    full = 256 * (128 + 256 * 16 + 2048 * 16) + 257 * 2048 * 4
    swa = 256 * (128 + 256 * 16 + 256 * columns * 4)
    # THEN it is what the module says, under 64 MB on the host, one table on the device
    assert recorder.host_bytes == full + swa < 64e6
    assert recorder.device_bytes == 257 * 2048 * 4 + 2 * 48


@pytest.mark.skipif(CUDA, reason="the GPU tests count syncs with CUDA's own debug mode")
def test_recording_reads_nothing_back(monkeypatch):
    # GIVEN a recorder whose kernel launch is replaced by a count
    recorder = FlightRecorder("cpu", [FULL], slots=4, interpret=True)
    table = torch.ones(2, 4, dtype=torch.int32)
    lengths = torch.ones(2, dtype=torch.int32)
    with count_syncs(forbid=True) as counts:

        class Launcher:
            def __getitem__(self, grid):
                return lambda *args, **kwargs: counts.launched("record")

        monkeypatch.setattr("triage.device.launches.record_kernel", Launcher())
        # WHEN a launch is recorded
        recorder.record("full", table, lengths, window_left=-1)
    # THEN it took one launch and nothing else
    assert counts.launches == {"record": 1} and not counts.host_reads
