"""Kinds of text that readers of public threads sent, and what was made of them wrongly before."""

from __future__ import annotations

import io
import json

import pytest

from triage.dump.observation import Failure, Observation
from triage.explain.together import Input, Report, together
from triage.importers.recognise import read_log


def report(text: str) -> Report:
    seen = read_log(io.BytesIO(text.encode()), "a.log").observations
    return together([Input("a.log", "a log", observations=seen)])


def alone(text: str) -> Observation:
    (seen,) = report(text).observations
    return seen


def told(text: str) -> str:
    found = report(text)
    return " ".join(
        each for reading in found.readings for each in (reading.headline, *reading.says)
    )


TORCH = "[rank{rank}]:[E{stamp} ProcessGroupNCCL.cpp:1] [PG ID 0 PG GUID 1 Rank {rank}] {text}\n"


def of_rank(rank: int, stamp: str, text: str) -> str:
    return TORCH.format(rank=rank, stamp=stamp, text=text)


ILLEGAL = (
    "watchdog thread terminated with exception: CUDA error: an illegal memory access was found"
)


@pytest.mark.parametrize(
    ("one", "other", "first"),
    [
        ("1104 10:00:02.750000001", "1104 10:00:02.250000001", "rank 1"),
        ("1104 10:00:02.250000001", "1104 10:00:02.750000001", "rank 5"),
        ("1031 23:59:59.900000001", "1101 00:00:00.100000001", "rank 5"),  # over a month's end
    ],
)
def test_of_two_ranks_the_one_whose_stamp_is_earlier_was_first_wherever_it_stands(
    one, other, first
):
    # GIVEN torch's stamps, which have no year, the line of rank 5 before that of rank 1
    found = report(of_rank(5, one, ILLEGAL) + of_rank(1, other, ILLEGAL))
    assert found.as_dict()["first"] == first


def test_stamps_with_and_without_a_year_are_not_put_in_one_order():
    dated = "[2026-11-04 10:00:01 TP0] Scheduler hit an exception: CUDA error: an illegal address\n"
    found = report(of_rank(5, "1104 10:00:02.250000001", ILLEGAL) + dated)
    assert [each.line for each in found.observations] == [1, 2]


TIMEOUT = (
    "Watchdog caught collective operation timeout: WorkNCCL(SeqNum={number}, OpType=ALLGATHER, "
    "NumelIn=8, NumelOut=8, Timeout(ms)=1000) ran for 1001 milliseconds before timing out."
)
BEGUN = "failure detected at work: 7 PG status: last enqueued work: {begun}, last completed work: 6"


def test_the_rank_that_did_not_come_to_a_collective_is_named_not_who_waits_for_it():
    # GIVEN two ranks that wait at collective 7, and one that began 6 only and says so last
    text = ""
    for rank in (0, 2):
        text += of_rank(rank, "1104 10:00:02.1", TIMEOUT.format(number=7))
        text += of_rank(rank, "1104 10:00:02.1", BEGUN.format(begun=7))
    text += of_rank(
        1, "1104 10:00:02.3", "Received a dump signal. Last enqueued NCCL work: 6, and so on"
    )
    found = report(text)
    # THEN it is the first, the others are collateral, and nobody "ended"
    assert found.as_dict()["first"] == "rank 1"
    assert {each.rank for each in found.ranks if each.collateral} == {"rank 0", "rank 2"}
    assert "rank 1 is behind: it never began collective 7" in told(text)
    assert "notified" not in told(text) and "what rank 1 was doing" in found.missing


def test_ranks_that_all_wait_at_one_collective_blame_nobody():
    text = "".join(
        of_rank(rank, "1104 10:00:02.1", BEGUN.format(begun=7)) for rank in (0, 1)
    ) + of_rank(0, "1104 10:00:02.1", TIMEOUT.format(number=7))
    assert all(each.failure is Failure.HUNG for each in report(text).observations)


SANITIZER = (
    "========= Invalid __global__ {access} of size 16 bytes\n"
    "=========     at void flashinfer::Decode<float>(int)+0x100\n"
    "=========     Access to {address} is out of bounds\n"
    "=========     and is 5,000 bytes before the nearest allocation at 0x700000000000 of size 64\n"
)


def test_an_address_next_to_null_is_a_pointers_and_no_index_is_blamed():
    near = SANITIZER.format(access="read", address="0x48")
    (reading,) = report(near).readings
    assert "a base pointer was null" in told(near) and "5,000 bytes before" not in told(near)
    assert reading.families == ()
    far = SANITIZER.format(access="read", address="0x6fffffffec78")
    assert "null" not in told(far) and "5,000 bytes before" in told(far)


RACE = (
    "========= {level}: {kind}hazard detected at __shared__ 0x20 in block (3,0,0) :\n"
    "=========     Write Thread (32,0,0) at _gemma_norm_kernel+0x10 in norm.py:9\n"
    "=========     {other} Thread (64,0,0) at _gemma_norm_kernel+0x18 in norm.py:9\n"
    "=========     Current Value : 1, Incoming Value : 2\n"
    "========= RACECHECK SUMMARY: 1 hazard displayed\n"
)


@pytest.mark.parametrize(
    ("level", "kind", "other"),
    [
        ("Warning", "(Warp Level Programming) Potential WAW ", "Write"),
        ("Error", "Potential RAW ", "Read"),
    ],
)
def test_a_hazard_of_racecheck_is_a_race_on_shared_memory_of_its_kernel(level, kind, other):
    seen = alone(RACE.format(level=level, kind=kind, other=other))
    assert (seen.failure, seen.space) == (Failure.RACE, "shared")
    assert (seen.kernel, seen.kernel_at) == ("_gemma_norm_kernel", "norm.py:9")
    assert "matrix product" not in told(RACE.format(level=level, kind=kind, other=other))


def test_the_line_of_the_failing_pc_counts_and_not_that_of_the_frame_behind_it():
    text = (
        "CUDA Exception: Warp Illegal Address\n"
        "The exception was triggered at PC 0x7f00000010  moe_kernel  (experts.py:31)\n"
        "[Current focus set to CUDA kernel 0, block (1,0,0), thread (2,0,0), device 6, sm 1]\n"
        "#0  0x00007f0000000090 in moe_kernel<<<(8,1,1),(128,1,1)>>> () at /x/experts.py:40\n"
    )
    seen = alone(text)
    assert (seen.kernel, seen.kernel_at) == ("moe_kernel", "experts.py:31")
    assert "Warp Illegal Address, block (1,0,0), thread (2,0,0), device 6" in told(text)


@pytest.mark.parametrize(
    "line",
    [
        "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered",
        "NVRM: Xid (PCI:0000:1b:00): 48, pid=1, name=x, DBE (double bit error)",
        "NVRM: Xid (PCI:0000:1b:00): 79, pid=1, name=x, GPU has fallen off the bus.",
    ],
)
def test_hardware_is_told_as_hardware_and_no_launch_is_asked_for(line):
    found = report(line + "\n")
    assert found.observations[0].failure is Failure.HARDWARE
    assert "and nothing that software did" in told(line + "\n")
    assert not found.missing


def test_a_loggers_json_tells_whose_line_it_is_and_when():
    # GIVEN the same assertion of two ranks, which only fields beside the message name
    assertion = "/x/T.cu:1: kernel: block: [0,0,0], thread: [0,0,0] Assertion `index < 9` failed."
    lines = [
        {"ts": f"2026-11-04T10:00:0{second}.500Z", "proc": proc, "msg": assertion}
        for second, proc in ((2, "tp0"), (1, "tp3"), (0, "main"))
    ]
    found = report("".join(json.dumps(each) + "\n" for each in lines))
    # THEN they are put in order; what is no rank of SGLang's is none
    assert [each.rank for each in found.observations] == ["", "TP3", "TP0"]


FULL = (
    "[2026-11-04 10:00:00 TP1] Prefill out of memory. Try to lower your batch size.\n"
    "Try to allocate 2048 tokens.\n"
    "Available full tokens: {full} (full_available_size=1 + full_evictable_size=2)\n"
    "Available swa tokens: {swa} (swa_available_size={swa} + swa_evictable_size=0)\n"
    "[2026-11-04 10:00:00 TP1] Scheduler hit an exception: Traceback (most recent call last):\n"
    '  File "/x/sglang/srt/managers/scheduler.py", line 4, in run_scheduler_process\n'
    "    scheduler.run()\n"
    "RuntimeError: Prefill out of memory. Try to lower your batch size.\n"
)


@pytest.mark.parametrize(
    ("full", "swa", "short"),
    [(90_000, 64, "the swa pool is short"), (64, 90_000, "the full pool is short")],
)
def test_the_pool_that_is_short_is_named_where_the_log_tells_it(full, swa, short):
    text = FULL.format(full=full, swa=swa)
    assert "2,048 tokens were wanted" in told(text) and short in told(text)
    assert "the sums of the pools" not in report(text).missing


def test_where_both_pools_are_short_none_is_blamed_alone():
    assert "pool is short" not in told(FULL.format(full=10, swa=10))


def test_the_letters_of_a_screenshot_are_read():
    seen = alone("RuntimeError: CUDA error: an i1lega1 memory access was encountered\n")
    assert seen.failure is Failure.ILLEGAL_ADDRESS


CALL = (
    "[2026-11-04 10:00:00] FlashInfer API Call: {wrapper}.{method}\n"
    "Positional input arguments:\n"
    "  arg[{place}]:\n"
    "    Tensor(\n"
    "      shape=({shape})\n"
    "      min=0\n"
    "      max={largest}\n"
    "    )\n"
)


@pytest.mark.parametrize(
    ("wrapper", "place"),
    [("BatchDecodeWithPagedKVCacheWrapper", 2), ("BatchPrefillWithPagedKVCacheWrapper", 3)],
)
@pytest.mark.parametrize(("largest", "said"), [(64, "an id is out of range"), (63, "none is past")])
def test_the_page_ids_of_a_plan_are_held_to_the_pages_of_the_run(wrapper, place, largest, said):
    # GIVEN a plan whose largest page id is logged, and a run over a cache of 64 pages
    plan = CALL.format(wrapper=wrapper, method="plan", place=place, shape="9,", largest=largest)
    run = CALL.format(wrapper=wrapper, method="run", place=2, shape="64, 16, 8, 128", largest=1)
    assert said in told(plan + run)
    # AND of another wrapper's plan nothing is said
    assert "its plan" not in told(plan.replace("Paged", "Ragged") + run)


WATCHDOG = (
    "[2026-11-04 10:00:0{at} {rank}] Scheduler watchdog timeout (self.watchdog_timeout=300)\n"
)
STACK = (
    "[2026-11-04 10:00:0{at} {rank}] Pyspy dump for PID 7\n"
    'Thread 7 (active): "MainThread"\n'
    "    {frame}\n"
    "    event_loop_overlap (scheduler.py:9)\n"
)


def test_of_ranks_that_hang_the_stack_tells_who_waits_for_whom():
    text = STACK.format(at=1, rank="TP1", frame="cudaEventSynchronize (libcudart.so.12)")
    text += WATCHDOG.format(at=1, rank="TP1")
    text += STACK.format(at=2, rank="TP0", frame="broadcast_pyobj (utils/common.py:1)")
    text += WATCHDOG.format(at=2, rank="TP0")
    said = {each.rank: each.values.get("waits") for each in report(text).observations}
    assert said == {"TP1": "gpu", "TP0": "peer"}
    assert "held up, and not what hangs" in told(text)
    # AND without a stack nothing is guessed
    assert "look alike here" in told(WATCHDOG.format(at=1, rank="TP1"))
