"""Made up: the pages of a finished request are given back twice by whoever ends it."""

from contextlib import contextmanager

from triage.lab.drivers.pools import Driver
from triage.lab.patching import replaced

NAME = "caught"
REFERENCE = "made up"
SUBSYSTEM = "allocator"
WHAT = "Every page that is freed is freed again at once."
RELEASES = ("0.5.18",)
EXPECTED = {"sentence": "A page was freed twice.", "keywords": ["twice", "double"]}
WORKLOAD = {"draft": "none", "requests": 2, "prompt_tokens": 32, "output_tokens": 4}


@contextmanager
def plant(harmed):
    def make(original):
        def finish(self, request, *args, **kwargs):
            table = self.runtime.req_to_token_pool.req_to_token
            held = table[request.req_pool_idx, : request.allocated].clone()
            original(self, request, *args, **kwargs)
            harmed("what a finished request held is freed again")
            self.runtime.token_to_kv_pool_allocator.free(held.long())

        return finish

    with replaced(Driver, "_finish", make):
        yield
