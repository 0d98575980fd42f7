"""Starts of a server with pools of these sizes, on SGLang's real pools and allocators.

    python -m tests.sglang.start_child DIRECTORY

Prints, for each start, what was said by the default checks. Stubs: the model runner and the
scheduler, of which only the attributes named here are read; no backend computes anything.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

import torch  # noqa: E402, after the interpreter is set

from triage.errors import TrapError  # noqa: E402
from triage.lab.process import start  # noqa: E402

PAGE = 16
SHAPE = {"page_size": PAGE, "dtype": torch.float16, "head_num": 1, "head_dim": 8, "device": "cpu"}


def hybrid(full: int, swa: int) -> tuple[Any, Any]:
    """A target's pool and its allocator, sizes in slots."""
    try:
        from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
    except ImportError:  # up to 0.5.12.post1
        from sglang.srt.mem_cache.swa_memory_pool import SWATokenToKVPoolAllocator
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    older = "enable_kvcache_transpose" in inspect.signature(SWAKVPool.__init__).parameters
    pool = SWAKVPool(
        **({"enable_kvcache_transpose": False} if older else {}),
        size=full,
        size_swa=swa,
        swa_attention_layer_ids=[0, 1, 2],
        full_attention_layer_ids=[3],
        **SHAPE,
    )
    allocator = SWATokenToKVPoolAllocator(full, swa, PAGE, torch.float16, "cpu", pool, False)
    return pool, allocator


def paged(slots: int) -> Any:
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool

    return MHATokenToKVPool(size=slots, layer_num=1, enable_memory_saver=False, **SHAPE)


def runner(pool: Any, allocator: Any, **more: Any) -> Any:
    frozen = more.pop("frozen", False)
    algorithm = SimpleNamespace(is_frozen_kv_mtp=lambda: frozen)
    known = {"is_draft_worker": False, "sliding_window_size": None, **more}
    return SimpleNamespace(
        token_to_kv_pool=pool,
        token_to_kv_pool_allocator=allocator,
        spec_algorithm=algorithm,
        **known,
    )


def scheduler(target: Any, draft: Any = None, deep: bool = False) -> Any:
    """deep: the draft's runner lies where the second generation of workers keeps it."""
    worker = SimpleNamespace(model_runner=draft)
    if deep:
        inner = SimpleNamespace(draft_runner=draft)
        worker = SimpleNamespace(model_runner=target, draft_worker=inner)
    return SimpleNamespace(
        token_to_kv_pool_allocator=target.token_to_kv_pool_allocator,
        tp_worker=SimpleNamespace(model_runner=target),
        draft_worker=None if draft is None else worker,
    )


def starts() -> dict[str, Any]:
    """Name -> a scheduler; those that are sound begin with "sound"."""
    pool, allocator = hybrid(40 * PAGE, 16 * PAGE)
    target = runner(pool, allocator, sliding_window_size=47)

    def drafting(slots: int, deep: bool = False, **more: Any) -> Any:
        made = runner(paged(slots), allocator, is_draft_worker=True, **more)
        return scheduler(target, made, deep)

    def windowed(full: int, swa: int, window: int, **more: Any) -> Any:
        return scheduler(runner(*hybrid(full, swa), sliding_window_size=window, **more))

    own, served = paged(20 * PAGE), SimpleNamespace(context_len=32)
    return {
        "sound: no draft": scheduler(target),
        "sound: as many rows as slots": drafting(40 * PAGE),
        "sound: frozen, its own pool is not read": drafting(4 * PAGE, frozen=True),
        "sound: an allocator of its own": scheduler(
            target, runner(own, SimpleNamespace(page_size=PAGE), is_draft_worker=True)
        ),
        "sound: one slot more than the floor": windowed(40 * PAGE, 4 * PAGE, 47),
        "sound: a side as large as the other": windowed(3 * PAGE, 3 * PAGE, 1023),
        "sound: a context below the window": windowed(
            40 * PAGE, 4 * PAGE, 1023, model_config=served
        ),
        "draft pool sized before the split": drafting(20 * PAGE),
        "the same, of a worker in a worker": drafting(20 * PAGE, deep=True),
        "draft pool a page short": drafting(39 * PAGE),
        "SWA side below window and page": windowed(30 * PAGE, 3 * PAGE, 47),
        "SWA side at the floor": windowed(40 * PAGE, 4 * PAGE, 48),
    }


def main() -> None:
    process = start(traps=True, fixes=(), directory=Path(sys.argv[1]), checks="default")
    found: dict[str, Any] = {}
    for name, made in starts().items():
        process.arm(traps=True, fixes=(), directory=process.directory)
        sizes, alarm = process.installed.state_hooks.sizes, None
        try:
            sizes.hooked_start(made)
        except TrapError as error:
            alarm = error
        told = None if alarm is None else (alarm.evidence.invariant, alarm.evidence.summary)
        found[name] = {
            "told": told,
            "dump": "" if alarm is None else alarm.dump,
            "errors": process.traps.reporter.shells.internal_errors,
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
