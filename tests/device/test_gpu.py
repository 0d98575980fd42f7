"""On a real GPU: no sync by CUDA's own count, CUDA graphs, containment, and a real fault.

Long because all of it needs the one thing: a GPU, found or skipped for in one place.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from tests.device.batches import Batch, random_batch
from triage.device.checker import DeviceChecker
from triage.device.contain import Containment
from triage.device.recorder import FlightRecorder, LaneSpec, window_columns
from triage.device.watch import Watch
from triage.invariants.findings import Findings
from triage.invariants.reads import IndexSpace, check_table

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

PAGE, ROWS, WIDTH, WINDOW = 64, 32, 128, 511


@contextmanager
def no_sync() -> Iterator[None]:
    """CUDA's own view: anything inside that waits for the device raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the mode a prototype, once a process
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def firing(findings: Findings) -> dict[str, int]:
    return {name: number for name, number in findings.read().items() if number}


class Server:
    """Static input buffers of one graph, SWA form, and legal contents for them."""

    def __init__(self, seed: int = 0) -> None:
        self.draw = random.Random(seed)
        pages = ROWS * WIDTH + 1
        order = torch.randperm(pages - 1, generator=torch.Generator().manual_seed(seed)) + 1
        self.full = order.view(ROWS, WIDTH).to(torch.int32)
        slots = self.full[:, :, None] * PAGE + torch.arange(PAGE, dtype=torch.int32)
        req_to_token = torch.zeros(ROWS + 1, WIDTH * PAGE, dtype=torch.int32)
        req_to_token[1:] = slots.view(ROWS, -1)
        mapping = torch.arange(pages * PAGE + 1)
        mapping[-1] = -1
        self.space = IndexSpace("swa", PAGE, pages)
        self.table = torch.zeros(ROWS, WIDTH, dtype=torch.int32, device="cuda")
        self.lengths = torch.ones(ROWS, dtype=torch.int32, device="cuda")
        self.requests = torch.zeros(ROWS, dtype=torch.int64, device="cuda")
        self.options = {
            "window_left": WINDOW,
            "req_pool_indices": self.requests,
            "req_to_token": req_to_token.cuda(),
            "full_to_swa": mapping.cuda(),
        }
        self.source = self.table.clone()  # a captured refill copies it into the table

    def fill(self, *, spoil: int) -> None:
        """New requests, lengths and tables; `spoil` entries of the table go wrong."""
        real = self.draw.randint(1, ROWS)
        owners = self.draw.sample(range(ROWS), real)
        lengths = [self.draw.randint(1, WIDTH * PAGE) for _ in owners]
        table = torch.full((ROWS, WIDTH), -9, dtype=torch.int32)
        table[:real] = self.full[owners]
        table[real:, 0] = 0
        for row, length in enumerate(lengths):
            table[row, -(-length // PAGE) :] = self.draw.choice([-1, 2**31 - 1, 0])
        for _ in range(spoil):
            value = self.draw.choice([-1, 0, 5, self.space.num_pages, 2**31 - 1])
            table[self.draw.randrange(real), self.draw.randrange(WIDTH)] = value
        self.source.copy_(table)
        self.lengths.copy_(torch.tensor(lengths + [1] * (ROWS - real)))
        self.requests.copy_(torch.tensor([o + 1 for o in owners] + [0] * (ROWS - real)))

    def expected(self):
        return check_table(self.source, self.lengths, self.space, **self.options)


def captured(body) -> torch.cuda.CUDAGraph:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        body()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    return graph


def test_kernel_and_host_agree_without_a_sync():
    # GIVEN random launches of many variants, compiled and on the device already
    checker = DeviceChecker("cuda", capacity=4096)
    for seed in range(25):
        batch = random_batch(seed, max_rows=9, max_width=40).on("cuda")
        args, options = batch.arguments()
        checker.check_table(*args, **options)  # compiles, which may wait
        checker.mark(0)
        checker.poll(wait=True)
        # WHEN the checker judges one under CUDA's sync debug mode
        with no_sync():
            checker.check_table(*args, **options)
            checker.mark(1)
            reports = checker.poll()
        reports = (*reports, *checker.poll(wait=True))
        # THEN it finds what the host checks find, on the same device
        host = check_table(*args, **options)
        (told,) = (report for report in reports if report.step == 1)
        assert told.counts == firing(host)
        assert {o.violation for o in told.offenders} == set(host.violations(10**6))


def test_large_and_strided_tables_with_garbage_agree():
    # GIVEN the largest table, a slice of a wider buffer, full of int32 garbage
    generator = torch.Generator(device="cuda").manual_seed(1)
    wide = torch.randint(
        -(2**31), 2**31 - 1, (256, 2050), generator=generator, device="cuda", dtype=torch.int32
    )
    wide[:, ::3] = 5
    lengths = torch.randint(
        -5, 2048 * 64 + 70, (256,), generator=generator, device="cuda", dtype=torch.int32
    )
    requests = torch.randint(-3, 300, (256,), generator=generator, device="cuda")
    slots = torch.randint(
        -(2**31), 2**31 - 1, (257, 2048 * 64), generator=generator, device="cuda", dtype=torch.int32
    )
    mapping = torch.randint(-(2**40), 2**40, (1000,), generator=generator, device="cuda")
    slots[:, ::64] = slots[:, ::64] % 1000
    batch = Batch(
        wide[:, :2048],
        lengths,
        IndexSpace("swa", 64, 700),
        {
            "window_left": 511,
            "req_pool_indices": requests,
            "req_to_token": slots,
            "full_to_swa": mapping,
        },
    )
    # WHEN kernel and host judge it
    checker = DeviceChecker("cuda")
    for given in (batch, replace(batch, options={"window_left": -1})):
        args, options = given.arguments()
        checker.check_table(*args, **options)
        checker.mark(1)
        (report,) = checker.poll(wait=True)
        # THEN the counts agree, and no load went astray
        assert report.counts == firing(check_table(*args, **options))
        assert len(report.offenders) == checker.capacity


def test_a_captured_check_judges_what_each_replay_reads():
    # GIVEN refill, check and record captured in one graph, compiled beforehand
    server = Server()
    checker = DeviceChecker("cuda", capacity=1024)
    lanes = [
        LaneSpec("swa", PAGE, ROWS, WIDTH, window_columns=window_columns(WINDOW, 1, PAGE)),
        LaneSpec("full", PAGE, ROWS, WIDTH, requests=ROWS + 1, changes=ROWS * WIDTH),
    ]
    recorder = FlightRecorder("cuda", lanes, slots=8, checker=checker)
    tag = recorder.tag(graph_id=1, forward_mode="DECODE")

    def body() -> None:
        server.table.copy_(server.source)
        checker.check_table(server.table, server.lengths, server.space, **server.options, tag=tag)
        for lane, window in (("swa", WINDOW), ("full", -1)):
            recorder.record(
                lane,
                server.table,
                server.lengths,
                window_left=window,
                req_pool_indices=server.requests,
                tag=tag,
            )

    server.fill(spoil=0)
    graph = captured(body)
    checker.mark(0)
    before = checker.poll(wait=True)[-1].launches[1]
    history = []
    for step in range(20):
        server.fill(spoil=0 if step % 3 else 12)
        host = server.expected()
        torch.cuda.synchronize()
        # WHEN the graph is replayed over tables that change, and polled, without a sync
        with no_sync():
            graph.replay()
            checker.mark(step)
        (report,) = checker.poll(wait=True)
        # THEN every replay is one launch, judged as the host judges it
        assert report.step == step and report.launches == (before + step, before + step + 1)
        assert report.counts == firing(host)
        assert {o.violation for o in report.offenders} == set(host.violations(10**6))
        history.append((server.source.cpu(), server.lengths.cpu(), server.requests.cpu()))
    # AND the ring holds the newest eight of each lane, as they were
    entries = [entry for entry in recorder.entries() if entry["space"] == "full"]
    assert len(entries) == 8 and all(entry["graph_id"] == 1 for entry in entries)
    for entry, (table, lengths, requests) in zip(entries, history[-8:], strict=True):
        assert entry["cache_seqlens"].tolist() == lengths.tolist() and not entry["lost"]
        for row, length in enumerate(lengths.tolist()):
            start, stop = entry["table_offsets"][row : row + 2]
            live = -(-length // PAGE) if requests[row] else 0
            assert entry["table_values"][start:stop].tolist() == table[row, :live].tolist()


def test_a_contained_launch_survives_ids_that_would_fault():
    # GIVEN a graph whose "attention" gathers pages through the contained table
    server = Server(seed=3)
    checker = DeviceChecker("cuda", capacity=1024)
    contain = Containment(checker, ["swa"], max_rows=ROWS, max_columns=WIDTH)
    pool = torch.arange(server.space.num_pages, device="cuda")
    out = torch.zeros(ROWS, WIDTH, dtype=torch.int64, device="cuda")

    def body() -> None:
        server.table.copy_(server.source)
        table, _ = contain.redirect(server.table, server.lengths, server.space, **server.options)
        torch.take(pool, table.long(), out=out)  # a wild id asserts on the device

    server.fill(spoil=0)
    graph = captured(body)
    for step in range(6):
        server.fill(spoil=0 if step % 2 else 20)
        host = server.expected()
        # WHEN it is replayed over wild ids
        graph.replay()
        checker.mark(step)
        report = checker.poll(wait=True)[-1]
        torch.cuda.synchronize()
        # THEN the context lives, clean entries are read as they are, and it is told
        assert report.counts == firing(host)
        bad = {(v.row, v.column) for v in host.violations(10**6) if v.invariant == "I1"}
        live = -(-server.lengths // PAGE)
        for row in range(ROWS):
            for column in range(int(live[row])):
                wanted = 0 if (row, column) in bad else int(server.source[row, column])
                if column % 16 == 0 or (row, column) in bad:
                    assert int(out[row, column]) == wanted


def test_a_watched_model_in_a_graph_is_checked_once_per_replay_and_told():
    # GIVEN 12 layers that share a table, watched while they are captured
    server = Server(seed=5)
    lane = LaneSpec("swa", PAGE, ROWS, WIDTH, window_columns=window_columns(WINDOW, 1, PAGE))
    watch = Watch("cuda", [lane], mode="contain")
    pool = torch.arange(server.space.num_pages, device="cuda")
    out = torch.zeros(ROWS, WIDTH, dtype=torch.int64, device="cuda")

    def body() -> None:
        watch.begin()
        server.table.copy_(server.source)
        for layer in range(12):
            table, _ = watch.launch(
                "swa",
                server.table,
                server.lengths,
                server.space,
                facts={"layer_id": layer, "space": "swa", "graph_id": 1},
                **server.options,
            )
            torch.take(pool, table.long(), out=out)

    server.fill(spoil=0)
    graph = captured(body)
    assert (watch.launches, watch.checks) == (24, 2)  # warm-up and capture
    watch.end(-1)
    assert watch.poll(wait=True) == ()
    for step in range(8):
        server.fill(spoil=0 if step % 2 else 20)
        wrong = server.expected().total
        torch.cuda.synchronize()
        # WHEN it is replayed, marked and polled without a sync
        with no_sync():
            graph.replay()
            watch.end(step)
            early = watch.poll()
        evidence = (*early, *watch.poll(wait=True))
        # THEN the step's faults are told once, with the step, and the context lives
        assert [found.total for found in evidence] == ([wrong] if wrong else [])
        assert all(found.facts["step"] == step for found in evidence)
        torch.cuda.synchronize()
    assert watch.checker.marks_without_launch == 0


def test_a_process_that_dies_of_a_real_fault_leaves_its_ring_on_the_host():
    # GIVEN a child that records launches in a graph and then reads a wild page
    child = subprocess.run(
        [sys.executable, "-m", "tests.device.fault_child"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    # WHEN its context is gone
    assert child.returncode == 0, child.stderr[-2000:]
    told = json.loads(child.stdout.splitlines()[-1])
    # THEN every launch up to the fault is there, the wild one last, read from host memory alone
    assert told["fault"] and "illegal" in told["error"]
    assert told["device_dead"]
    assert told["launches"] == list(range(told["first"], told["first"] + 10))
    assert told["torn"] == [False] * 10
    assert told["last_table"] == [3, 4, 2**31 - 1]
    assert told["offenders"][-1] > told["offenders"][-2]
