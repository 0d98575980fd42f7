"""A prefill server's sends on SGLang's own classes, and rows that are given back; prints JSON.

python -m tests.sglang.sends_child DIRECTORY

Real: `send_kv_chunk`, the request table, and `FakeKVSender`, which SGLang brings for servers
without a network. Stubs: the scheduler, as far as those read it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.errors import TrapError
from triage.lab.process import start
from triage.lab.request import LabRequest
from triage.lab.runtime import Runtime
from triage.lab.scenarios import find

DIRECTORY = Path(sys.argv[1])
PROCESS = start(traps=True, fixes=(), directory=DIRECTORY, checks="lifecycle")


class Sent(LabRequest):
    """With what a prefill server keeps on a request."""

    start_send_idx = 0
    pending_bootstrap = False
    origin_input_ids = tuple(range(100))
    fill_len = 100
    disagg_kv_sender: Any = None


def play(what: str) -> str:
    """Send 64 tokens, do `what`, give the row back; the trap's words or "silent"."""
    from sglang.srt.disaggregation.fake.conn import FakeKVSender
    from sglang.srt.disaggregation.prefill import SchedulerDisaggregationPrefillMixin as Mixin

    PROCESS.arm(traps=True, fixes=(), directory=DIRECTORY)
    runtime = Runtime(find("smoke-plain").geometry, draft_tokens=0, draft_steps=0, draft="none")
    table, req = runtime.req_to_token_pool, Sent(1, 100, 10)
    sender = req.disagg_kv_sender = FakeKVSender(None, "", 1, [], 0)
    table.alloc([req])
    scheduler = SimpleNamespace(
        token_to_kv_pool_allocator=runtime.token_to_kv_pool_allocator,
        req_to_token_pool=table,
        disagg_prefill_pending_chunk_rids=set(),
        disagg_prefill_inflight_queue=[],
    )
    sender.should_send_kv_chunk = lambda pages, last: True
    sender.send = lambda *_, **__: setattr(sender, "has_sent", True)
    try:
        if what != "nothing sent":
            if hasattr(Mixin, "_send_kv_chunk"):  # from 0.5.23
                scheduler._send_kv_chunk = Mixin._send_kv_chunk.__get__(scheduler)
            scheduler.enable_staging = False
            Mixin.send_kv_chunk(scheduler, req, last_chunk=False, end_idx=64)
            assert req.start_send_idx == 64
        if what == "through":
            sender.poll()
        if what == "aborted":
            sender.abort()
        table.free(req)
    except TrapError as error:
        return f"{error.evidence.invariant} {error.evidence.kind} {error.evidence.total}"
    finally:
        runtime.close()
    return "silent"


if __name__ == "__main__":
    cases = ("under way", "through", "aborted", "nothing sent")
    told = {what: play(what) for what in cases}
    told["internal"] = PROCESS.traps.counts.get("internal errors", 0)
    print(json.dumps(told))
