"""Chunked prompts under SGLang's trees; a chunk's insert may leave its request's mark behind. JSON.

python -m tests.sglang.prefix_owned_child DIRECTORY CHECKS CACHE...

CHECKS: `default` or families.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from triage.dump.file import read_dump
from triage.errors import TrapError
from triage.explain import explain
from triage.lab.bugs.bug import SMALL, small
from triage.lab.patching import replaced
from triage.lab.process import start
from triage.lab.rig import Bench

DIRECTORY, CHECKS = Path(sys.argv[1]), sys.argv[2]
PROCESS = start(
    traps=True, fixes=(), directory=DIRECTORY, checks="" if CHECKS == "default" else CHECKS
)


def scenario(cache: str) -> Any:
    geometry = replace(
        SMALL.geometry, full_pages=60, swa_pages=50, num_layers=3, kv_shared_layers=0
    )
    return small(
        draft="none", cache=cache, requests=6, concurrency=3, chunk=64, prompt_tokens=160,
        output_tokens=12, geometry=geometry,
    )  # fmt: skip


def play(cache: str, harm: bool) -> dict[str, Any]:
    """harm: the first chunk that goes into the tree leaves `cache_protected_len` where it was."""
    PROCESS.arm(traps=True, fixes=(), directory=DIRECTORY)
    before = set(DIRECTORY.glob("*.msgpack"))
    bench = Bench(PROCESS, scenario(cache))
    harmed: list[int] = []

    def make(original: Any) -> Any:
        def cache_unfinished_req(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
            holder = req.kv if hasattr(getattr(req, "kv", None), "cache_protected_len") else req
            mark = holder.cache_protected_len
            result = original(self, req, *args, **kwargs)
            if harm and not harmed and holder.cache_protected_len > mark:
                holder.cache_protected_len = mark
                harmed.append(mark)
            return result

        return cache_unfinished_req

    trapped = ""
    tree = type(bench.driver.tree_cache)
    name = "cache_unfinished_req" if hasattr(tree, "cache_unfinished_req") else "checkpoint"
    with replaced(tree, name, make):
        try:
            bench.driver.run(lambda done, total: None, None)
        except TrapError as error:
            trapped = str(error.evidence.kind) if error.evidence.found else ""
        finally:
            compared = PROCESS.installed.state_hooks.prefix_owned.compared
            bench.close()
    made = sorted(set(DIRECTORY.glob("*.msgpack")) - before)
    dumps = [read_dump(each) for each in made]
    return {
        "harmed": len(harmed),
        "compared": compared,
        "trapped": trapped,
        "logged": [str(each.fault.found) for each in dumps],
        "named": [cause.key for each in dumps for cause in explain(each).named],
        "internal": PROCESS.traps.counts.get("internal errors", 0),
    }


def main() -> None:
    print(
        json.dumps(
            {
                f"{cache}, {'harmed' if harm else 'sound'}": play(cache, harm)
                for cache in sys.argv[3:]
                for harm in (False, True)
            }
        )
    )


if __name__ == "__main__":
    main()
