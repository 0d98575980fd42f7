"""SGLang's HiCacheController and host pool on CPU tensors, for the tests of transfers.

Real are the controller, its queues and merging, the host pool with its lists, the device pool
and its allocator. Stood in: the copies themselves, which are kernels of sgl_kernel and do
nothing here, and the free memory of the host, which the pool asks for.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any
from unittest import mock

PAGE = 4


def controller(pages: int = 16) -> Any:
    """A controller over one device pool and a host pool twice as large."""
    import torch
    from sglang.srt.managers import cache_controller
    from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool
    from sglang.srt.mem_cache.pool_host.mha import MHATokenToKVPoolHost

    device = MHATokenToKVPool(
        size=pages * PAGE,
        page_size=PAGE,
        dtype=torch.float16,
        head_num=1,
        head_dim=8,
        layer_num=2,
        device="cpu",
        enable_memory_saver=False,
    )
    allocator = PagedTokenToKVPoolAllocator(
        pages * PAGE, PAGE, torch.float16, "cpu", device, need_sort=False
    )
    with mock.patch("psutil.virtual_memory", lambda: SimpleNamespace(available=1 << 40)):
        host = MHATokenToKVPoolHost(device, 2.0, 0, PAGE, "layer_first", False, "cpu")
    made = cache_controller.HiCacheController(
        allocator, host, PAGE, None, threading.Event(), io_backend="direct"
    )
    host.backup_from_device_all_layer = lambda *_: None
    host.load_to_device_per_layer = lambda *_, **__: None
    return made
