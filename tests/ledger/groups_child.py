"""A server without a prefix cache, whose frees wait for the end of their group; and with a leak.

python -m tests.ledger.groups_child DIRECTORY
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

from triage.errors import TrapError  # noqa: E402, after the interpreter is set
from triage.lab.bugs.bug import SMALL  # noqa: E402
from triage.lab.matrix import EVERYTHING  # noqa: E402
from triage.lab.patching import replaced  # noqa: E402
from triage.lab.process import start  # noqa: E402
from triage.lab.run import Bench  # noqa: E402

NO_TREE = replace(SMALL, name="no-tree", draft="none", cache="chunk")


def leaking() -> Any:
    """A cache that gives a finished request's first page to nobody."""
    from sglang.srt.mem_cache.chunk_cache import ChunkCache

    def make(whole: Any) -> Any:
        def all_but_a_page(cache: Any, *args: Any, **kwargs: Any) -> None:
            pages = cache.token_to_kv_pool_allocator
            cache.token_to_kv_pool_allocator = SimpleNamespace(
                free=lambda slots: pages.free(slots[int(pages.page_size) :])
            )
            try:
                whole(cache, *args, **kwargs)
            finally:
                cache.token_to_kv_pool_allocator = pages

        return all_but_a_page

    return replaced(ChunkCache, "cache_finished_req", make)


def main() -> None:
    process = start(traps=True, fixes=(), directory=Path(sys.argv[1]), checks=EVERYTHING)
    told = {}
    for name, defect in (("sound", nullcontext), ("leak", leaking)):
        process.arm(traps=True, fixes=(), directory=process.directory)
        told[name] = ["", ""]
        with defect():
            bench = Bench(process, NO_TREE)
            try:
                bench.driver.run(lambda done, total: None)
            except TrapError as error:
                told[name] = [error.evidence.invariant, error.evidence.kind]
        told[name].append(bench.driver.finished)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
