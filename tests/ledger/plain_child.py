"""Books of pools of one kind: healthy runs of each, and defects planted in SGLang's classes.

python -m tests.ledger.plain_child DIRECTORY
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

import torch  # noqa: E402, after the interpreter is set

from triage.dump.file import read_dump  # noqa: E402
from triage.errors import TrapError  # noqa: E402
from triage.explain import explain  # noqa: E402
from triage.lab.bugs.bug import SMALL  # noqa: E402
from triage.lab.matrix import EVERYTHING  # noqa: E402
from triage.lab.patching import replaced  # noqa: E402
from triage.lab.plain_pools import PlainRuntime, PlainScheduler  # noqa: E402
from triage.lab.process import start  # noqa: E402
from triage.lab.scenarios import Scenario  # noqa: E402
from triage.lab.steps import ShelledSteps  # noqa: E402

Defect = Callable[[PlainScheduler], AbstractContextManager[None]]


def scenario(page_size: int, requests: int = 10) -> Scenario:
    """Requests that share prefixes, on a pool that is too small for all of them at once."""
    pages = 240 // page_size
    return replace(
        SMALL,
        name="plain",
        draft="none",
        cache="radix",
        requests=requests,
        chunk=256,
        prompt_tokens=48,
        output_tokens=40,
        geometry=replace(
            SMALL.geometry, page_size=page_size, full_pages=pages, swa_pages=pages, context_len=128
        ),
    )


def run(process: Any, kind: str, page: int, defect: Defect) -> dict[str, Any]:
    process.arm(traps=True, fixes=(), directory=process.directory)
    plan = scenario(page)
    runtime = PlainRuntime(plan.geometry, kind)
    guard = ShelledSteps(process.traps.steps, process.installed.state_hooks.step_books)
    driver = PlainScheduler(plan, runtime, guard)
    process.traps.reporter.holders.note(driver)
    found: dict[str, Any] = {"alarm": "", "text": "", "named": ""}
    try:
        with defect(driver):
            driver.run(lambda done, total: None)
    except TrapError as error:
        found["alarm"], found["text"] = error.evidence.invariant, str(error)
        causes = explain(read_dump(Path(error.dump))).named
        found["named"] = ", ".join(cause.key for cause in causes)
    except (AssertionError, RuntimeError, MemoryError) as error:
        found["text"] = f"{type(error).__name__}: {error}"
    found["steps"], found["counts"] = driver.step, dict(process.traps.counts)
    runtime.close()
    return found


@contextmanager
def reserved_lent(driver: PlainScheduler) -> Iterator[None]:
    """The free list begins at the reserved page: a bound that forgets it."""
    allocator = driver.runtime.token_to_kv_pool_allocator
    zero = torch.zeros(1, dtype=allocator.free_pages.dtype)
    allocator.free_pages = torch.cat([zero, allocator.free_pages])
    yield


def lock_left(driver: PlainScheduler) -> AbstractContextManager[None]:
    """Every third request keeps its lock."""
    count = [0]

    def make(original: Any) -> Any:
        def dec_lock_ref(self: Any, node: Any, *args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] % 3 or node is self.root_node:
                return original(self, node, *args, **kwargs)
            from sglang.srt.mem_cache.base_prefix_cache import DecLockRefResult

            return DecLockRefResult(delta=0)

        return dec_lock_ref

    return replaced(type(driver.tree_cache), "dec_lock_ref", make)


def leaf_forgotten(driver: PlainScheduler) -> AbstractContextManager[None]:
    """Eviction takes a leaf out of the tree, and its pages never reach the free list."""

    def make(original: Any) -> Any:
        def evict(self: Any, *args: Any, **kwargs: Any) -> Any:
            allocator = self.token_to_kv_pool_allocator
            free: Any = allocator.free
            kept: list[Any] = []

            def skips_one(slots: Any) -> None:
                if kept or len(slots) == 0:
                    free(slots)
                kept.append(slots)

            allocator.free = skips_one
            try:
                return original(self, *args, **kwargs)
            finally:
                del allocator.free

        return evict

    return replaced(type(driver.tree_cache), "evict", make)


def main() -> None:
    directory = Path(sys.argv[1])
    process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING)
    healthy = {
        f"{kind}-{page}": run(process, kind, page, lambda _: nullcontext())
        for kind, page in (("mha", 16), ("mla", 1))
    }
    planted = {
        "reserved-1": run(process, "mla", 1, reserved_lent),
        "reserved-16": run(process, "mha", 16, reserved_lent),
        "lock": run(process, "mla", 16, lock_left),
        "leaf": run(process, "mha", 1, leaf_forgotten),
    }
    print(json.dumps({"sglang": process.version, "healthy": healthy, "planted": planted}))


if __name__ == "__main__":
    main()
