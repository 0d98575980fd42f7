"""Under EAGLE the unified cache evicts one page too many: the inserted leaf keeps less than a window of SWA KV."""

from contextlib import contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "unified_bigram_frontier"
REFERENCE = "https://github.com/sgl-project/sglang/pull/34870"
SUBSYSTEM = "unified radix cache (EAGLE keys, SWA eviction)"
WHAT = (
    "The eviction frontier is computed from the token count, a bigram key is one shorter: the leaf keeps less than a"
    " window, the match after the insert refuses it, and the request's slots stay its own and the unlocked tree's at once."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The tree and the running request own the same slots (the nodes are not locked), so they can be evicted or"
    " freed under the request, or freed twice.",
    "keywords": ["unlocked", "lock", "both", "own", "freed", "tree", "protected", "evict", "shared"],
}
PAGE, WINDOW = 16, 31


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
    from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

    def make(original):
        earlier = edited(
            original,
            ("req, len(radix_key) - 1, insert_params", "req, len(token_ids) - 1, insert_params"),
        )

        def cache_unfinished_req(self, req, chunked=False, **more):
            earlier(self, req, chunked=chunked, **more)
            row = self.req_to_token_pool.req_to_token[req.req_pool_idx, : len(req.get_fill_ids())].to(torch.int64)
            inside = torch.isin(row, self.all_values_flatten())
            if int(inside.sum()) > req.cache_protected_len:
                harmed(
                    f"{int(inside.sum())} slots of the request are the tree's, {req.cache_protected_len} of them protected"
                )

        return cache_unfinished_req

    with replaced(UnifiedRadixCache, "cache_unfinished_req", make):
        yield


def drive(lab):
    from array import array

    from sglang.srt.environ import envs
    from sglang.srt.managers.schedule_batch import ReqKvInfo
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.unified_cache.components import ComponentType
    from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

    bench = lab.bench(cache="unified", requests=0, window=WINDOW, kv_shared_layers=0)
    allocator, rows = bench.runtime.token_to_kv_pool_allocator, bench.runtime.req_to_token_pool
    tree = UnifiedRadixCache(
        CacheInitParams(
            disable=False, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=PAGE, is_eagle=True,
            sliding_window_size=WINDOW, tree_components=(ComponentType.FULL, ComponentType.SWA),
        )
    )
    scheduler = SimpleNamespace(
        tree_cache=tree, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, waiting_queue=[], running_batch=None
    )
    fill = [4 * PAGE]
    tokens = array("q", range(3000, 3000 + 8 * PAGE))
    req = SimpleNamespace(
        rid="one", origin_input_ids=tokens, output_ids=array("q"), req_pool_idx=None, extra_key=None, cache_salt=None,
        priority=0, cache_protected_len=0, last_node=tree.root_node_handle(), prefix_indices=None, session=None,
        inflight_middle_chunks=0, kv_committed_len=8 * PAGE, get_fill_ids=lambda: tokens[: fill[0]],
        swa_uuid_for_lock=None, skip_lock_node_ids={}, swa_prefix_lock_released=False, mamba_pool_idx=None,
        session_id=None, kv=ReqKvInfo(kv_allocated_len=8 * PAGE, swa_evicted_seqlen=0),
    )
    with envs.SGLANG_OPT_UNIFIED_CACHE_FREE_OUT_OF_WINDOW_SLOTS.override(True):
        lab.event("the first chunk")
        rows.alloc([req])
        zero, length = torch.tensor([0]), torch.tensor([8 * PAGE])
        slots = allocator.alloc_extend(zero, zero, length, length, torch.tensor([-1]), 8 * PAGE)
        rows.write((req.req_pool_idx, slice(0, 8 * PAGE)), slots.to(torch.int32))
        lab.step(scheduler=scheduler)
        lab.event("it is cached")
        tree.cache_unfinished_req(req, chunked=True)
        lab.step(scheduler=scheduler)
        lab.event("the second chunk is cached")
        fill[0] = 8 * PAGE
        tree.cache_unfinished_req(req)
        lab.step(scheduler=scheduler)
        lab.event("it ends")
        tree.cache_finished_req(req, kv_len_to_handle=8 * PAGE)
        rows.free(req)
        req.kv = None
        lab.step(scheduler=scheduler)
