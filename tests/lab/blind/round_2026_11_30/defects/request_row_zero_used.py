"""Row 0 of the request table is handed out although padded graph rows read it."""

from contextlib import ExitStack, contextmanager

from triage.lab.patching import replaced

NAME = "request_row_zero_used"
REFERENCE = "https://github.com/sgl-project/sglang/pull/24243"
SUBSYSTEM = "request table (CUDA graph padding row)"
WHAT = (
    "Row 0 of req_to_token is not kept back as the padding row: a request gets it, and the padded rows of captured"
    " batches, whose req_pool_indices are 0, read that request's KV pages."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "A request was given row 0, the padding row: padding rows of a graph now read a live request's KV.",
    "keywords": ["row 0", "slot 0", "padding row", "reserved", "padding"],
}
WORKLOAD = {
    "backend": "trtllm_mha",
    "draft": "none",
    "graphs": True,
    "requests": 6,
    "concurrency": 3,
    "max_requests": 3,
    "prompt_tokens": 60,
    "output_tokens": 20,
}


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache.memory_pool import ReqToTokenPool

    def make_init(original):
        def __init__(self, size, *args, **more):
            original(self, size, *args, **more)
            self.free_slots = list(range(size))

        return __init__

    def make_clear(original):
        def clear(self):
            original(self)
            self.free_slots = list(range(self.size))

        return clear

    def make_alloc(original):
        def alloc(self, reqs):
            rows = original(self, reqs)
            if rows and 0 in list(rows):
                harmed("a request was given row 0")
            return rows

        return alloc

    with ExitStack() as stack:
        stack.enter_context(replaced(ReqToTokenPool, "__init__", make_init))
        stack.enter_context(replaced(ReqToTokenPool, "clear", make_clear))
        stack.enter_context(replaced(ReqToTokenPool, "alloc", make_alloc))
        yield
