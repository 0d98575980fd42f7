"""HiCache frees the host pages it is loading from: eviction for the load-back takes them for a write-back."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "hicache_load_back_unpinned"
REFERENCE = "https://github.com/sgl-project/sglang/pull/27631"
SUBSYSTEM = "HiCache (HiRadixCache load-back)"
WHAT = (
    "load_back does not protect the host pages that it loads; when device memory is short, its own eviction (write_back)"
    " evicts them on the host side and gives them to the node being written back, and the load reads that node's KV."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "Host slots that a load-back reads from were freed (and reused) before the load was done.",
    "keywords": ["host", "freed", "in use", "load", "reused", "still"],
}
PAGE = 16


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
    from sglang.srt.mem_cache.hiradix_cache import HiRadixCache

    loading = []

    def make_load(original):
        earlier = edited(
            original,
            (
                "    for n in nodes_to_load:\n        n.protect_host()\n",
                "",
            ),
            ("        for n in nodes_to_load:\n            n.release_host()\n        logger", "        logger"),
            ("    for n in nodes_to_load:\n        n.release_host()\n    self", "    self"),
        )

        def load_back(self, node, mem_quota=None):
            n = node
            while n.evicted:
                loading.append(n.host_value)
                n = n.parent
            try:
                return earlier(self, node, mem_quota)
            finally:
                loading.clear()

        return load_back

    def make_evict(original):
        def evict_host(self, num_tokens):
            original(self, num_tokens)
            if loading:
                slots = torch.cat(loading)
                gone = slots[~self.token_to_kv_pool_host.slot_used[slots]]
                if gone.numel():
                    harmed(f"host slots {gone.tolist()} are free, but being loaded from")

        return evict_host

    with ExitStack() as stack:
        stack.enter_context(replaced(HiRadixCache, "load_back", make_load))
        stack.enter_context(replaced(HiRadixCache, "evict_host", make_evict))
        yield


def build(lab, server_args, device_pages, host_pages, write_policy):
    """A HiRadixCache with real pools and the real controller's bookkeeping; copies run at once, on the CPU."""
    import threading

    from sglang.srt.managers.cache_controller import HiCacheController
    from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.hiradix_cache import HiRadixCache
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
    from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost
    from sglang.srt.mem_cache.radix_cache import RadixCache

    rows = ReqToTokenPool(4, 256, "cpu", False)
    pool = MHATokenToKVPool(
        size=device_pages * PAGE, page_size=PAGE, dtype=torch.float16, head_num=1, head_dim=8, layer_num=1, device="cpu",
        enable_memory_saver=False,
    )
    allocator = PagedTokenToKVPoolAllocator(device_pages * PAGE, PAGE, torch.float16, "cpu", pool, False)
    host = MHATokenToKVPoolHost(pool, (host_pages - 1) / device_pages, 0, PAGE, "layer_first", pin_memory=False)
    event = SimpleNamespace(synchronize=lambda: None, record=lambda: None, query=lambda: True)

    def completion():
        return SimpleNamespace(start_event=event, finish_event=event, timing_enabled=False)

    def down(transfers):
        for t in transfers:
            for layer in range(pool.layer_num):
                host.kv_buffer[0, layer, t.host_indices] = pool.k_buffer[layer][t.device_indices]
                host.kv_buffer[1, layer, t.host_indices] = pool.v_buffer[layer][t.device_indices]
        return completion()

    def up(transfers, **more):
        for t in transfers:
            for layer in range(pool.layer_num):
                pool.k_buffer[layer][t.device_indices] = host.kv_buffer[0, layer, t.host_indices]
                pool.v_buffer[layer][t.device_indices] = host.kv_buffer[1, layer, t.host_indices]
        return completion()

    controller = HiCacheController.__new__(HiCacheController)
    controller.__dict__.update(
        mem_pool_device_allocator=allocator, mem_pool_device=pool, mem_pool_host=host, write_queue=[], load_queue=[],
        ack_write_queue=[], ack_load_queue=[], write_policy=write_policy, io_backend="direct", has_draft=False,
        page_size=PAGE, device="cpu", layer_num=1, enable_storage=False, reset=lambda: None,
        l2_transfer_engine=SimpleNamespace(submit_device_to_host=down, submit_host_to_device=up),
        layer_done_counter=SimpleNamespace(
            update_producer=lambda: 0, events=[SimpleNamespace(start_event=event, complete=lambda layer: None, finish_event=event)]
        ),
    )
    tree = HiRadixCache.__new__(HiRadixCache)
    tree.__dict__.update(
        kv_cache=pool, token_to_kv_pool_host=host, cache_controller=controller, tp_group=None, attn_cp_group=None,
        attn_tp_group=None, pp_group=None, tp_world_size=1, pp_rank=0, pp_size=1, enable_storage=False, page_size=PAGE,
        enable_storage_metrics=False, hicache_storage_pass_prefix_keys=False, ongoing_write_through={},
        ongoing_load_back={}, ongoing_prefetch={}, ongoing_backup={}, prefetch_loaded_tokens_by_reqid={}, work_list=[],
        write_through_threshold=1, load_back_threshold=10, evictable_host_leaves=set(), metrics_collector=None,
        load_cache_event=threading.Event(), _enable_metrics_flag=False, extra_metric_labels=None,
    )
    RadixCache.__init__(
        tree,
        CacheInitParams(disable=False, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=PAGE),
    )
    scheduler = SimpleNamespace(
        tree_cache=tree, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, server_args=server_args,
        waiting_queue=[], running_batch=None,
    )
    return tree, allocator, scheduler


def insert(tree, allocator, first, pages):
    from array import array

    from sglang.srt.mem_cache.base_prefix_cache import InsertParams
    from sglang.srt.mem_cache.radix_cache import RadixKey

    key = RadixKey(array("q", range(first, first + pages * PAGE)), None)
    return tree.insert(InsertParams(key=key, value=allocator.alloc(pages * PAGE)))


def match(tree, first, pages):
    from array import array

    from sglang.srt.mem_cache.base_prefix_cache import MatchPrefixParams
    from sglang.srt.mem_cache.radix_cache import RadixKey

    return tree.match_prefix(MatchPrefixParams(key=RadixKey(array("q", range(first, first + pages * PAGE)), None)))


def drive(lab):
    from sglang.srt.mem_cache.base_prefix_cache import EvictParams

    with lab.server_args() as server_args:
        tree, allocator, scheduler = build(lab, server_args, device_pages=8, host_pages=5, write_policy="write_back")

        def step():
            lab.step(scheduler=scheduler)

        lab.event("prompt A (4 pages) is cached and evicted to the host")
        insert(tree, allocator, 1000, 4)
        tree.evict(EvictParams(num_tokens=4 * PAGE))
        step()
        lab.event("prompts B and C fill the device")
        insert(tree, allocator, 3000, 4)
        insert(tree, allocator, 4000, 4)
        step()
        lab.event("A is asked for again: load back")
        tree.load_back(match(tree, 1000, 4).last_host_node)
        tree.cache_controller.start_loading()
        step()
        lab.event("the load is acknowledged")
        tree.loading_check(finish_count=len(tree.cache_controller.ack_load_queue))
        step()
