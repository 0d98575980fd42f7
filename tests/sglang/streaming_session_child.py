"""A unified tree with a streaming session: who holds rows, pages and locks beside requests. JSON.

python -m tests.sglang.streaming_session_child

Real: the tree, which brings its own `StreamingSession`, and the slot of a session. Stub: the
request of a second turn, as far as it is read, and the caching itself.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

from triage.sglang.allocator.holdings import nobody_else_holds  # noqa: E402
from triage.sglang.allocator.prefix_owned import PrefixOwned  # noqa: E402
from triage.sglang.fixes.revived_prefix import RevivedPrefix  # noqa: E402


def play() -> dict[str, Any]:
    from sglang.srt.session.streaming_session import SessionSlot

    cache = RevivedPrefix("UnifiedRadixCache").cache
    before = nobody_else_holds(None, cache)
    slot = SessionSlot()
    cache.session.slots["one"] = slot
    told: list[str] = []
    owned = PrefixOwned(lambda: None, lambda found: told.append(found.summary))
    request = SimpleNamespace(
        req_pool_idx=1, kv=SimpleNamespace(req_pool_idx=1), last_node=slot.virtual_node
    )
    try:
        result = owned.around_caching(lambda cache, req: "cached", cache, request)
    except Exception as error:  # ours: the hook would be switched off
        result = f"{type(error).__name__}: {error}"
    return {
        "without": before,
        "with": nobody_else_holds(None, cache),
        "caching": result,
        "told": told,
    }


if __name__ == "__main__":
    print(json.dumps(play()))
