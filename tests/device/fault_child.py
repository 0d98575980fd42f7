"""Runs until a real illegal memory access, then reads the flight recorder. Prints JSON.

A process of its own: the fault takes the CUDA context with it.
"""

from __future__ import annotations

import json
import os
import sys

import torch
import triton
import triton.language as tl

from triage.device.checker import DeviceChecker
from triage.device.recorder import FlightRecorder, LaneSpec
from triage.invariants.reads import IndexSpace

PAGE = 64
SPACE = IndexSpace("full", PAGE, 16)


@triton.jit
def read_pages(out_ptr, pool_ptr, table_ptr, COLUMNS: tl.constexpr):
    """What attention does with a page id: an address, without asking."""
    lane = tl.arange(0, 64)
    total = tl.zeros([64], tl.float32)
    for column in range(COLUMNS):
        page = tl.load(table_ptr + column).to(tl.int64)
        total += tl.load(pool_ptr + page * 65536 + lane)
    tl.store(out_ptr + lane, total)


def main() -> None:
    checker = DeviceChecker("cuda")
    lane = LaneSpec("full", PAGE, max_rows=1, max_columns=3)
    recorder = FlightRecorder("cuda", [lane], slots=10, checker=checker)
    table = torch.tensor([[3, 4, 5]], dtype=torch.int32, device="cuda")
    lengths = torch.tensor([3 * PAGE], dtype=torch.int32, device="cuda")
    pool = torch.zeros(16 * 65536, device="cuda")
    out = torch.zeros(64, device="cuda")

    def step() -> None:
        checker.check_table(table, lengths, SPACE, window_left=-1)
        recorder.record("full", table, lengths, window_left=-1)
        read_pages[(1,)](out, pool, table, COLUMNS=3)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for number in range(12):
        table[0, 2] = number % 8
        graph.replay()
    table[0, 2] = 2**31 - 1
    error = ""
    try:
        graph.replay()
        torch.cuda.synchronize()
    except RuntimeError as fault:
        error = str(fault)
    device_dead = False
    try:
        torch.zeros(1, device="cuda").add_(1).cpu()
    except RuntimeError:
        device_dead = True
    entries = recorder.entries()
    told = {
        "fault": bool(error),
        "error": error[:200],
        "device_dead": device_dead,
        "first": entries[0]["launch"],
        "launches": [entry["launch"] for entry in entries],
        "torn": [entry["torn"] for entry in entries],
        "offenders": [entry["offenders"] for entry in entries],
        "last_table": entries[-1]["table_values"].tolist(),
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    os._exit(0)  # destructors would touch the dead context


if __name__ == "__main__":
    main()
