"""Overlap scheduling: a retracted request is freed by the number of its known tokens, one slot short."""

from contextlib import contextmanager

from triage.lab.patching import replaced

NAME = "retract_lag_leak"
REFERENCE = "https://github.com/sgl-project/sglang/pull/11981"
SUBSYSTEM = "scheduler (retraction, overlap)"
WHAT = (
    "On retraction the KV length is inferred as len(input) + len(output) - 1; with overlap scheduling a step is in "
    "flight whose token is not in output_ids yet, so the slot allocated for it is not freed."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The retracted request's last slot leaked: it was allocated for the step in flight, and neither freed "
    "with the request nor owned by anybody.",
    "keywords": ["leak", "never freed", "not freed", "lost", "orphan", "still allocated"],
}

WORKLOAD = {
    "draft": "none", "cache": "swa-radix", "queued": True, "page_size": 1, "full_pages": 200, "swa_pages": 200,
    "prompt_tokens": 48, "output_tokens": 40, "chunk": 256, "requests": 5,
}


@contextmanager
def plant(harmed):
    from sglang.srt.managers.schedule_batch import ScheduleBatch

    def make(original):
        def release_req(self, idx, *rest, **named):
            req = self.reqs[idx]
            known = len(req.origin_input_ids) + max(len(req.output_ids) - 1, 0)
            held = req.kv.kv_allocated_len if req.kv is not None else known
            if held > known:
                rid, short = req.rid, held - known
                lost = self.req_to_token_pool.req_to_token[req.req_pool_idx, known:held].tolist()
                req.kv_committed_len = req.kv.kv_allocated_len = known
                result = original(self, idx, *rest, **named)
                harmed(f"request {rid} is retracted, its last {short} slots {lost} are not freed")
                return result
            return original(self, idx, *rest, **named)

        return release_req

    with replaced(ScheduleBatch, "release_req", make):
        yield
