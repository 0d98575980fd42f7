"""What the default checks add where SGLang does more than decode: a prefill, a caching, a draft.

    python -m triage.bench.default_events_cost      one line of JSON

Each hook is called over SGLang's own objects of a lab run under the unified tree, its original
replaced by nothing, so what is measured is the hook; the quickest of each, less an empty call.
A request is cached about twice (when its prompt is in, when it ends), a prefill is one forward.
`MIX` says what that makes a forward of a server that decodes 64 requests of 8k in and 1k out;
`default_checks_cost` has the decode step itself.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from triage import config
from triage.bench.figure import Figure, at_most

ROWS, OUTPUT_TOKENS = 64, 1000
MIX = f"{ROWS} requests of {OUTPUT_TOKENS} tokens each, so {ROWS / OUTPUT_TOKENS:g} end a forward"
TURNS, TURN = 9, 200
MOST_US = 10.0


def measure() -> dict[str, float]:
    """Microseconds of one event each, in this process."""
    empty = _quickest(lambda: None)
    return {name: _quickest(call) - empty for name, call in events().items()}


def events() -> dict[str, Callable[[], None]]:
    """One of each, in this process, over what a lab run has left."""
    os.environ.update(
        {
            config.DEBUG: "1",
            config.MODE: "contain",
            config.CHECKS: "default",
            config.PAGE_HISTORY: "0",
            config.DIRECTORY: tempfile.gettempdir(),
        }
    )
    from triage.lab import bootstrap

    bootstrap.prepare()
    from triage.lab.patching import replaced
    from triage.lab.process import start
    from triage.lab.rig import Bench
    from triage.lab.scenarios import find

    process = start(traps=True, fixes=(), directory=config.DEFAULT_DIRECTORY, mode="contain")
    scenario = replace(find("smoke-plain"), cache="unified", requests=6, output_tokens=20)
    bench = Bench(process, scenario)
    cached: list[tuple[Any, Any]] = []
    inserted: list[Any] = []

    def keep(original: Any) -> Any:
        def caching(cache: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(cache, req, *args, **kwargs)
            cached.append((cache, req))
            return result

        return caching

    def keep_insert(original: Any) -> Any:
        def insert(cache: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
            inserted.append(params)
            return original(cache, params, *args, **kwargs)

        return insert

    tree = type(bench.driver.tree_cache)
    with (
        replaced(tree, "cache_unfinished_req", keep),
        replaced(tree, "insert", keep_insert),
    ):
        bench.driver.run(lambda done, total: None, 12)
    found = _events(process.installed.state_hooks, *cached[-1], inserted[-1])
    bench.close()
    return found


def _events(hooks: Any, cache: Any, req: Any, params: Any) -> dict[str, Callable[[], None]]:
    batch = _Batch(cache, req)
    actions: list[Any] = []
    window, overlap = hooks.cached_window, hooks.locked_overlap

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    def caching() -> None:
        hooks.prefix_owned.around_caching(nothing, cache, req)
        window.around_unfinished(inserting, cache, req)

    def inserting(*args: Any, **kwargs: Any) -> None:
        window.around_insert(passing, cache, params)

    def passing(*args: Any, **kwargs: Any) -> None:
        overlap.around_insert(nodes, cache, params)

    def nodes(*args: Any, **kwargs: Any) -> None:
        for _ in range(4):
            overlap.around_overlap(nothing, None, node=None, cache_actions=actions)

    return {
        "prefill": lambda: hooks.frontier.around_extend(nothing, batch),
        "caching": caching,
        "draft": _draft(),
    }


class _Batch:
    """What the check of a prefill reads of a ScheduleBatch."""

    def __init__(self, cache: Any, req: Any) -> None:
        self.tree_cache = cache
        self.reqs = [req] * ROWS
        self.prefix_lens = [1 << 20] * ROWS


def _draft() -> Callable[[], None]:
    from types import SimpleNamespace

    import torch

    from triage.sglang.packed_slots.capacity import draft_steps_fit, draft_sum_counts_all

    lengths = torch.full((ROWS,), 9000)
    batch = SimpleNamespace(
        seq_lens_sum=9000 * ROWS, seq_lens_cpu=lengths, batch_size=ROWS, seq_lens=lengths
    )
    offsets = torch.zeros(3, ROWS + 1, dtype=torch.int32)
    multi = SimpleNamespace(topk=1, speculative_num_steps=3, kv_indptr=offsets)
    slots = torch.zeros(3, 9004 * ROWS, dtype=torch.int64)

    def call() -> None:
        draft_steps_fit(multi, batch, slots)
        draft_sum_counts_all(multi, batch)

    return call


def _quickest(call: Callable[[], None]) -> float:
    best = float("inf")
    for _ in range(TURNS * TURN):
        started = time.thread_time()
        call()
        best = min(best, time.thread_time() - started)
    return best * 1e6


def figures() -> list[Figure]:
    us = measure()
    ending = ROWS / OUTPUT_TOKENS
    a_forward = ending * (2 * us["caching"] + us["prefill"]) + us["draft"]
    told = (
        f"a prefill of {ROWS} requests {us['prefill']:.1f}, one request cached over four nodes "
        f"{us['caching']:.1f}, a draft's slots packed {us['draft']:.1f}; {MIX}"
    )
    return [at_most("default checks, beside the decode step", a_forward, MOST_US, "us", told)]


if __name__ == "__main__":
    json.dump([each.json() for each in figures()], sys.stdout)
    sys.stdout.write("\n")
