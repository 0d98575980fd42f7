"""0.5.23's unified tree takes an insert, and declines one of another rotation (KV sharding). JSON.

python -m tests.sglang.declined_insert_child

Real: the tree, its allocator and the two inserts. Stub: what `cache_unfinished_req` does around its
insert, which is to leave the request as it was where the tree declined.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

from triage.sglang.allocator.cached_window import CachedWindow  # noqa: E402
from triage.sglang.fixes.revived_prefix import RevivedPrefix, _key, _params  # noqa: E402


def play(base: int, protected: int) -> dict[str, Any]:
    """A prefix of rotation 0 is cached; a request of rotation `base` inserts it, and is then said
    to have `protected` of its tokens in the tree."""
    told: list[str] = []
    reporter: Any = SimpleNamespace(
        whole=lambda invariant: False, log_event=lambda found: told.append(found.kind)
    )
    window, tree = CachedWindow(reporter), RevivedPrefix("UnifiedRadixCache")
    cache, tokens = tree.cache, list(range(300, 308))
    request = SimpleNamespace(
        kv=SimpleNamespace(kv_allocated_len=8, cache_protected_len=0, req_pool_idx=1)
    )

    def given(rotation: int) -> Any:
        slots = tree.take(2)
        return _params("InsertParams")(key=_key(tokens), value=slots, rotation_base=rotation)

    cache.insert(given(0))
    declined = []

    def cache_unfinished_req(cache: Any, req: Any) -> None:
        result = window.around_insert(type(cache).insert, cache, given(base))
        declined.append(result.rotation_tail_declined)
        req.kv.cache_protected_len = protected

    window.around_unfinished(cache_unfinished_req, cache, request)
    return {"declined": declined, "told": told}


if __name__ == "__main__":
    runs = {"taken": play(0, 8), "declined": play(1, 0), "taken, not protected": play(0, 0)}
    print(json.dumps(runs))
