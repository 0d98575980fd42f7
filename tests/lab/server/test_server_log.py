"""A server's own log: why it ended, what its scheduler did. Lines as SGLang 0.5.14 has them."""

from __future__ import annotations

import pytest

from triage.lab.server import server_log

ILLEGAL = "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"

CRASH = f"""\
[2026-11-29 12:00:00] INFO:     127.0.0.1:1 - "GET /health HTTP/1.1" 200 OK
[2026-11-29 12:00:01] Scheduler hit an exception: Traceback (most recent call last):
  File "/site/sglang/srt/managers/scheduler.py", line 4219, in run_scheduler_process
    scheduler.run_event_loop()
{ILLEGAL}
CUDA kernel errors might be asynchronously reported at some other API call.

[2026-11-29 12:00:01] SIGQUIT received. signum=None, frame=None. It usually means one child failed.
Traceback (most recent call last):
  File "/site/sglang/srt/managers/detokenizer_manager.py", line 1, in run
RuntimeError: the other end went away
"""

LIVED_THROUGH = """\
[2026-11-29 11:59:00] Failed to look for updates
Traceback (most recent call last):
  File "updates.py", line 1, in ask
OSError: no network
"""

CAPTURE = """\
[2026-11-29 12:00:01] Scheduler hit an exception: Traceback (most recent call last):
  File "graph.py", line 1, in capture
RuntimeError: Cannot copy between CPU and CUDA tensors during CUDA graph capture

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "scheduler.py", line 2, in __init__
Exception: Capture cuda graph failed: Cannot copy between CPU and CUDA tensors
Possible solutions:
"""

TRAP = """\
[2026-11-29 12:00:01] Scheduler hit an exception: Traceback (most recent call last):
  File "traps.py", line 1, in fire
triage.errors.StaleSWAState: the backend translates for no pool; 12 ids are wrong
dump: /tmp/first.msgpack
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (CRASH, ILLEGAL),
        (LIVED_THROUGH + CRASH, ILLEGAL),
        (CAPTURE, "Exception: Capture cuda graph failed: Cannot copy between CPU and CUDA"),
        (TRAP, "triage.errors.StaleSWAState: the backend translates for no pool"),
        (
            "Traceback (most recent call last):\n  File ...\n"
            "torch._dynamo.exc.Unsupported: Attempted to call function marked as skipped\n"
            "  Explanation: ...\n",
            "torch._dynamo.exc.Unsupported",
        ),
        ("usage: ...\nlaunch_server.py: error: unrecognized arguments: --magic\n", "--magic"),
        ("/usr/bin/python3: No module named sglang\n", "No module named sglang"),
        ("bash: line 1: 123 Killed    python3\n\n", "Killed"),
        ('"GET /health HTTP/1.1" 503\n', "its log is empty"),
        ("", "its log is empty"),
    ],
    ids=[
        "crash",
        "lived through another",
        "capture",
        "trap",
        "a class by another name",
        "usage",
        "no module",
        "killed",
        "health only",
        "empty",
    ],
)
def test_the_reason_is_what_came_first_and_not_what_followed(log, reason):
    assert reason in server_log.reason(log)


def test_an_illegal_access_is_seen_in_a_crash_and_nowhere_else():
    assert server_log.illegal_access(CRASH)
    assert not server_log.illegal_access(CAPTURE + TRAP)


def test_what_the_scheduler_did_is_counted():
    log = """
[1] Prefill batch, #new-seq: 3, #new-token: 1024, #cached-token: 0, cuda graph: False, x
[1] Prefill batch, #new-seq: 1, #new-token: 576, #cached-token: 64, cuda graph: False, x
[1] Decode batch, #running-req: 4, #full token: 256, accept len: 1.0, cuda graph: True, x
[1] Decode batch, #running-req: 40, #full token: 256, cuda graph: False, x
[1] KV cache pool is full. Retract requests. #retracted_reqs: 2, #new_tokens_gained: 640
[1] KV cache pool is full. Retract requests. #retracted_reqs: 1, #new_tokens_gained: 320
"""
    assert server_log.activity(log, 1024).json() == {
        "prefill_batches": 2,
        "full_chunks": 1,
        "graphs": 1,
        "eager": 1,
        "retractions": 3,
    }


def test_the_tail_leaves_out_requests():
    assert server_log.tail('a\nb\n"POST /generate HTTP/1.1" 200\nc\n', 2) == "b\nc"


def test_what_a_starting_server_does_is_its_last_line_that_says_something():
    said = "[2026-11-30 14:41:23] Load weight end.\n"
    assert server_log.last_said(f"{said}a.py:3: UserWarning: old\n  warnings.warn(\n\n") == (
        "a.py:3: UserWarning: old"
    )
    assert server_log.last_said(f"{said}\n \n") == said.strip()
    assert server_log.last_said("") == "nothing in its log yet"


def test_batches_of_prompts_are_read_in_order():
    text = (
        "[t] Prefill batch, #new-seq: 1, #new-token: 64, #cached-token: 0, full token usage: 0.00\n"
        "[t] Decode batch, #running-req: 1\n"
        "[t] Prefill batch, #new-seq: 2, #new-token: 1024, #cached-token: 128, usage: 0.01\n"
    )
    assert server_log.prompt_batches(text) == ["1 64 0", "2 1024 128"]
