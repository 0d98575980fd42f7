"""page_size > window: eviction reaches the insert boundary and the last leaf is inserted without SWA KV."""

import os
from contextlib import ExitStack, contextmanager

import torch
from triage.lab.patching import replaced

NAME = "swa_evict_reaches_leaf"
REFERENCE = "https://github.com/sgl-project/sglang/pull/22470"
SUBSYSTEM = "SWA eviction and SWA radix cache"
WHAT = (
    "The eviction frontier pre_len - window, floored to a page, can reach page_floor(seq_len); the leaf inserted then is"
    " marked as live in the SWA pool although all of its SWA slots have been freed."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "A radix node counts as holding SWA KV, but its SWA slots were already freed (evictable size too large).",
    "keywords": ["swa", "evicted", "freed", "tombstone", "leaf", "evictable", "mapping"],
}
os.environ["SGLANG_SWA_EVICTION_INTERVAL"] = "1"  # as servers with small SWA pools set it
WORKLOAD = {
    "cache": "swa-radix",
    "draft": "none",
    "requests": 6,
    "concurrency": 2,
    "full_pages": 40,
    "swa_pages": 30,
    "prompt_tokens": 40,
    "output_tokens": 40,
    "chunk": 256,
    "window": 8,
}


def edited(function, *pairs):
    """The released function with a few of its lines put back to their earlier form."""
    import __future__
    import inspect
    import textwrap

    source = textwrap.dedent(inspect.getsource(function))
    for released, earlier in pairs:
        assert source.count(released) == 1, (source.count(released), released)
        source = source.replace(released, earlier)
    scope = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(source, f"<{function.__qualname__} before the fix>", "exec", flags, True), function.__globals__, scope)
    return scope[function.__name__]


@contextmanager
def plant(harmed):
    from sglang.srt.managers import schedule_batch
    from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache

    def make_free(original):
        return edited(
            original,
            ("evict_threshold = pre_len - max(sliding_window_size, page_size)", "evict_threshold = pre_len - sliding_window_size"),
        )

    def make_insert(original):
        return edited(original, ("if swa_evicted_seqlen == total_prefix_length + len(key):", "if False:"))

    def make_add(original):
        def _add_new_node(self, parent, key, value, swa_tombstone=False):
            if not swa_tombstone:
                swa = self.token_to_kv_pool_allocator.translate_loc_from_full_to_swa(value)
                if (swa <= 0).any():
                    harmed(f"a node with SWA KV is made of full slots without any: {value[swa <= 0].tolist()}")
            return original(self, parent, key, value, swa_tombstone=swa_tombstone)

        return _add_new_node

    with ExitStack() as stack:
        stack.enter_context(replaced(schedule_batch, "free_swa_out_of_window_slots", make_free))
        stack.enter_context(replaced(SWARadixCache, "_insert_helper", make_insert))
        stack.enter_context(replaced(SWARadixCache, "_add_new_node", make_add))
        yield
