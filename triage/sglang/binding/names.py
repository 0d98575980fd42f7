"""Where each release keeps the classes we stand at. We detect features and compare no versions."""

from __future__ import annotations

import importlib
import sys
from typing import Any

SWA_ALLOCATOR_MODULES = (
    "sglang.srt.mem_cache.allocator.swa",  # 0.5.13.post1 and later
    "sglang.srt.mem_cache.swa_memory_pool",  # 0.5.12.post1
)


SUB_ALLOCATOR_MODULES = (
    "sglang.srt.mem_cache.allocator.paged",  # 0.5.13.post1 and later
    "sglang.srt.mem_cache.allocator.token",
    "sglang.srt.mem_cache.allocator",  # 0.5.12.post1, one module
)
SUB_ALLOCATORS = ("PagedTokenToKVPoolAllocator", "TokenToKVPoolAllocator")

REQUEST_ROWS = "sglang.srt.mem_cache.memory_pool.ReqToTokenPool"
DECODE_ROWS = "sglang.srt.disaggregation.decode.DecodeReqToTokenPool"
"""The same of a decode server that is fed by prefill servers; a class of its own."""


def request_rows() -> tuple[str, ...]:
    """Dotted paths of the classes of `req_to_token` that this process has loaded."""
    module, _, name = DECODE_ROWS.rpartition(".")
    loaded = vars(sys.modules[module]) if module in sys.modules else {}
    own = {"write", "free"} <= vars(loaded.get(name, object)).keys()
    return (REQUEST_ROWS, DECODE_ROWS) if own else (REQUEST_ROWS,)


def sub_allocator_paths() -> tuple[str, ...]:
    """Dotted paths of the allocators of one pool, paged and by token. Imports SGLang."""
    found: dict[Any, str] = {}
    for module in SUB_ALLOCATOR_MODULES:
        try:
            owner = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
            continue
        for name in SUB_ALLOCATORS:
            if hasattr(owner, name):
                found.setdefault(getattr(owner, name), f"{module}.{name}")
    return tuple(found.values())


def swa_allocator_path() -> str:
    """Dotted path of SWATokenToKVPoolAllocator. Imports SGLang."""
    for module in SWA_ALLOCATOR_MODULES:
        try:
            owner = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
            continue
        if hasattr(owner, "SWATokenToKVPoolAllocator"):
            return f"{module}.SWATokenToKVPoolAllocator"
    raise LookupError("SWATokenToKVPoolAllocator is in none of " + ", ".join(SWA_ALLOCATOR_MODULES))


def swa_allocator_class() -> Any:
    module, _, name = swa_allocator_path().rpartition(".")
    return getattr(importlib.import_module(module), name)
