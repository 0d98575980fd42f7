"""HiCache: a prefetch that ends early puts its unused host pages onto the release queue twice."""

from array import array
from contextlib import contextmanager
from queue import Queue
from types import SimpleNamespace
from unittest import mock

import torch
from triage.lab.patching import replaced

NAME = "hicache_prefetch_double_release"
REFERENCE = "https://github.com/sgl-project/sglang/pull/13501"
SUBSYSTEM = "HiCache (prefetch from storage, host pool)"
WHAT = (
    "_page_transfer releases the pages that a terminated prefetch did not fill, and prefetch_io_aux_func releases them "
    "again: the second release is drained after another operation got these host pages, and frees them under it."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "Host pages of a prefetch are released twice: the second release frees pages that belong to another "
    "prefetch by then, so one host page has two owners.",
    "keywords": ["double free", "freed twice", "released twice", "twice", "two owners", "still in use", "host"],
}

WORKLOAD = {"draft": "none"}
PAGE = 16


@contextmanager
def plant(harmed):
    from sglang.srt.managers.cache_controller import HiCacheController

    def make_transfer(original):
        def _page_transfer(self, operation):
            original(self, operation)
            if operation.is_terminated():  # code before the fix
                self.append_host_mem_release(operation.host_indices[operation.completed_tokens :])

        return _page_transfer

    def make_release(original):
        def append_host_mem_release(self, host_indices):
            queued = {int(i) for page in list(self.host_mem_release_queue.queue) for i in page}
            original(self, host_indices)
            twice = queued & set(host_indices.tolist())
            if twice:
                harmed(f"host slots {min(twice)}..{max(twice)} stand on the release queue twice")

        return append_host_mem_release

    with (
        replaced(HiCacheController, "_page_transfer", make_transfer),
        replaced(HiCacheController, "append_host_mem_release", make_release),
    ):
        yield


def drive(lab):
    fields = dict(
        page_size=PAGE, hicache_ratio=1.0, hicache_write_policy="write_through", hicache_io_backend="direct",
        hicache_mem_layout="layer_first", hicache_storage_prefetch_policy="best_effort",
    )
    # no CUDA here: host memory stays unpinned
    with lab.server_args(**fields) as args, mock.patch(
        "sglang.srt.mem_cache.pool_host.common._cuda_host_register", lambda buffer: None
    ):
        _drive(lab, args)


def _drive(lab, args):
    from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams
    from sglang.srt.mem_cache.hiradix_cache import HiRadixCache
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool

    pool = MHATokenToKVPool(
        size=PAGE * 8, page_size=PAGE, dtype=torch.float32, head_num=1, head_dim=8, layer_num=2, device="cpu",
        enable_memory_saver=False,
    )
    allocator = PagedTokenToKVPoolAllocator(PAGE * 8, PAGE, torch.float32, "cpu", pool, False)
    rows = ReqToTokenPool(size=4, max_context_len=128, device="cpu", enable_memory_saver=False)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    tree = HiRadixCache(
        CacheInitParams(disable=False, req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, page_size=PAGE),
        args,
    )
    controller, host = tree.cache_controller, tree.token_to_kv_pool_host  # 9 host pages

    stored = {"filled": 0}

    def page_get(operation, hashes, host_indices, extra_info=None):
        pages = min(len(hashes), stored["filled"])
        operation.increment(pages * PAGE)
        controller.storage_stop_event.set()  # the IO thread's loop ends after this operation: here it is no thread

    # a storage backend without threads: their work is done by this script, at known moments
    controller.page_get_func = page_get
    controller.prefetch_queue, controller.backup_queue, controller.prefetch_buffer = Queue(), Queue(), Queue()
    controller.prefetch_hit_queue, controller.ack_backup_queue = Queue(), Queue()
    controller.host_mem_release_queue = Queue()
    controller.prefetch_tokens_occupied, controller.prefetch_capacity_limit = 0, 10**9
    controller.enable_storage = tree.enable_storage = True
    tree.prefetch_threshold, tree.prefetch_stop_policy = PAGE, "best_effort"

    scheduler = SimpleNamespace(
        token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, running_batch=None, waiting_queue=[],
        tree_cache=tree,
    )

    def begin(rid, first, pages, filled):
        lab.event(f"{rid} is prefetched: {pages} pages found, {filled} read")
        tree.prefetch_from_storage(rid, tree.root_node, array("q", range(first, first + pages * PAGE)))
        operation = controller.prefetch_queue.get_nowait()
        operation.storage_hit_count = pages * PAGE
        operation.hash_value = [f"{rid}-{page}" for page in range(pages)]
        controller.prefetch_hit_queue.put(operation)
        tree._drain_storage_control_queues_impl(n_storage_hit=1, n_backup=0, n_release=0, log_metrics=False)
        lab.step(scheduler=scheduler)
        controller.storage_stop_event.clear()
        stored["filled"] = filled
        controller.prefetch_io_aux_func()
        lab.step(scheduler=scheduler)

    def end(rid):
        lab.event(f"{rid}'s prefetch is taken into the tree")
        tree.check_prefetch_progress(rid)
        lab.step(scheduler=scheduler)

    def drain(pages):
        lab.event(f"up to {pages} released pages are drained (so many have all ranks on their queues)")
        tree._drain_storage_control_queues_impl(n_storage_hit=0, n_backup=0, n_release=pages, log_metrics=False)
        lab.step(scheduler=scheduler)

    begin("a", 1000, 4, 1)
    end("a")
    drain(3)
    begin("b", 2000, 8, 8)
    drain(3)
    begin("c", 3000, 2, 2) if host.available_size() >= 2 * PAGE else None
    end("b")
    if "c" in tree.ongoing_prefetch:
        end("c")
    tree.enable_storage = controller.enable_storage = False  # nothing to detach at exit
    lab.step(scheduler=scheduler)
