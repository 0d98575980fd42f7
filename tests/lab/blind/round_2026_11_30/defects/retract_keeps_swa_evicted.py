"""A retracted request keeps how far its sliding window had been evicted."""

import os
from contextlib import ExitStack, contextmanager

from triage.lab.patching import replaced

NAME = "retract_keeps_swa_evicted"
REFERENCE = "https://github.com/sgl-project/sglang/pull/18059"
SUBSYSTEM = "scheduler (retraction)"
WHAT = (
    "swa_evicted_seqlen is not reset when a request is retracted: prefilled anew, it counts SWA slots as evicted that"
    " were just allocated, so they are never evicted by the request and are inserted as tombstones."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "After the retraction the request's swa_evicted_seqlen lies past what was evicted of its new KV: the SWA"
    " slots below it are live but count as evicted (they leak).",
    "keywords": ["swa_evicted_seqlen", "evicted", "retract", "leak", "stale"],
}
os.environ["SGLANG_SWA_EVICTION_INTERVAL"] = "1"  # as servers with small SWA pools set it
WORKLOAD = {
    "cache": "chunk",
    "draft": "none",
    "requests": 6,
    "concurrency": 3,
    "full_pages": 16,
    "swa_pages": 16,
    "prompt_tokens": 48,
    "output_tokens": 40,
    "chunk": 256,
    "window": 32,
}


@contextmanager
def plant(harmed):
    from sglang.srt.managers import schedule_batch

    kept = {}

    def make_release(original):
        def release_req(*, req, **more):
            if req.kv is not None:
                kept[id(req)] = (req, req.kv.swa_evicted_seqlen)
            return original(req=req, **more)

        return release_req

    def make_alloc(original):
        def alloc_for_extend(batch):
            out = original(batch)
            for req in batch.reqs:
                _, evicted = kept.pop(id(req), (None, 0))
                if evicted > req.kv.swa_evicted_seqlen:
                    actual = req.kv.swa_evicted_seqlen
                    req.kv.swa_evicted_seqlen = evicted
                    harmed(f"request {req.rid}: swa_evicted_seqlen {evicted} after retraction, in truth {actual}")
            return out

        return alloc_for_extend

    with ExitStack() as stack:
        stack.enter_context(replaced(schedule_batch, "release_req", make_release))
        stack.enter_context(replaced(schedule_batch, "alloc_for_extend", make_alloc))
        yield
