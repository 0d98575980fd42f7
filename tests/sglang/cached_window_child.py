"""What requests give to SGLang's trees under the default checks, sound and harmed. JSON.

python -m tests.sglang.cached_window_child DIRECTORY CACHE...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.sglang.late_audit_child import listening
from triage.lab.bugs.bug import small
from triage.lab.patching import replaced
from triage.lab.process import start
from triage.lab.rig import Bench

DIRECTORY = Path(sys.argv[1])
PROCESS = start(traps=True, fixes=(), directory=DIRECTORY)


def play(cache: str, harm: bool) -> dict[str, Any]:
    """harm: while the tree takes a request's tokens, its record says that a page fewer is its."""
    PROCESS.arm(traps=True, fixes=(), directory=DIRECTORY)
    bench = Bench(PROCESS, small(draft="none", cache=cache, chunk=64, prompt_tokens=160))
    seen: list[int] = []

    def make(original: Any) -> Any:
        def caching(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
            record = req if getattr(req, "kv", None) is None else req.kv
            had = getattr(record, "kv_allocated_len", 0)
            if harm and had > 16:
                record.kv_allocated_len = had - 16
            try:
                return original(self, req, *args, **kwargs)
            finally:
                if harm and had > 16:
                    record.kv_allocated_len = had

        return caching

    window, tree = PROCESS.installed.state_hooks.cached_window, type(bench.driver.tree_cache)
    allocated = window._allocated
    window._allocated = lambda given: seen.append(given.inserted) or allocated(given)
    name = "cache_unfinished_req" if hasattr(tree, "cache_unfinished_req") else "checkpoint"
    try:
        with replaced(tree, name, make), listening() as said:
            bench.driver.run(lambda done, total: None, None)
    finally:
        window._allocated = allocated
        bench.close()
    internal = PROCESS.traps.counts.get("internal errors", 0)
    return {"inserts": len(seen), "said": list(said), "internal": internal}


if __name__ == "__main__":
    runs = [(cache, harm) for cache in sys.argv[2:] for harm in (False, True)]
    print(json.dumps({f"{c}, {'harmed' if h else 'sound'}": play(c, h) for c, h in runs}))
