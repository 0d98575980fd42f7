"""A chunked request gives its row of the request table back between two chunks."""

from contextlib import contextmanager

from triage.lab.patching import replaced

NAME = "chunk_row_given_away"
REFERENCE = "https://github.com/sgl-project/sglang/pull/17850"
SUBSYSTEM = "scheduler (chunked prefill, overlap)"
WHAT = (
    "Between two chunks the request's row of req_to_token is freed; another request of the next batch can get it and"
    " overwrite it while the queued forward of the first chunk still reads it."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The row of a request that is still being prefilled was freed and given to another request: its slots are"
    " overwritten while in use.",
    "keywords": ["row", "req_pool", "freed", "in use", "overwritten", "request table", "still"],
}
WORKLOAD = {
    "cache": "swa-radix",
    "draft": "none",
    "queued": True,
    "requests": 6,
    "concurrency": 3,
    "prompt_tokens": 80,
    "output_tokens": 12,
    "chunk": 48,
}


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache

    def make(original):
        def cache_unfinished_req(self, req, chunked=False):
            original(self, req, chunked=chunked)
            if req.extend_range is not None and req.extend_range.end < len(req.origin_input_ids):
                # as it was: the row goes back and is allocated anew for the next chunk
                row = req.req_pool_idx
                self.req_to_token_pool.free(req)
                harmed(f"row {row} of request {req.rid} is free between its chunks")

        return cache_unfinished_req

    with replaced(SWARadixCache, "cache_unfinished_req", make):
        yield
