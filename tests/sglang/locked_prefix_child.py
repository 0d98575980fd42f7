"""Plays loads whose prefixes are revived under a reader, with the default checks, SEEDS times.

python -m tests.sglang.locked_prefix_child DIRECTORY SEEDS

An oracle in plain sets over SGLang's own requests, rows and lists says what was wrong: it
shares no code with the checks.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.sglang.late_audit_child import listening
from triage.lab.bugs.released import RELEASED
from triage.lab.process import start
from triage.lab.rig import Bench

FREE, MOVED = "read and free", "at two columns"
SCENARIO = next(bug.scenario for bug in RELEASED if bug.name == "locked-prefix-freed")


def wrong_now(bench: Bench) -> set[str]:
    """What is wrong with the full pages of the requests that decode."""
    running = bench.driver.running  # type: ignore[union-attr]
    if running is None:
        return set()
    full = bench.runtime.token_to_kv_pool_allocator.full_attn_allocator
    parts = [part for part in (full.free_pages, full.release_pages) if part is not None]
    free = {page for part in parts for page in part.tolist()}
    columns: dict[int, set[int]] = {}
    for req in running.reqs:
        if req.finished() or req.req_pool_idx is None:
            continue
        tokens = len(req.origin_input_ids) + len(req.output_ids) - 1
        row = bench.runtime.req_to_token_pool.req_to_token[req.req_pool_idx, :tokens]
        for column, slot in enumerate(row[:: full.page_size].tolist()):
            columns.setdefault(slot // full.page_size, set()).add(column)
    found = {FREE} if free & columns.keys() else set()
    return found | ({MOVED} if any(len(places) > 1 for places in columns.values()) else set())


def play(lab: Any, directory: Path, seed: int, queued: bool, fixes: tuple[str, ...]) -> Any:
    lab.arm(traps=True, fixes=fixes, directory=directory)
    audit = lab.installed.state_hooks.audit
    audit.every = 1
    wrong: set[str] = set()
    with listening() as said:
        bench = Bench(lab, replace(SCENARIO, queued=queued), seed=seed)
        try:
            while bench.driver.rows:
                bench.driver.tick()
                wrong |= wrong_now(bench)
        finally:
            bench.close()
        audit.tell()
    return {"wrong": sorted(wrong), "said": [message.splitlines()[0] for message in said]}


if __name__ == "__main__":
    directory, seeds = Path(sys.argv[1]), int(sys.argv[2])
    lab = start(traps=True, fixes=("auto",), directory=directory)
    fix = "keep-locked-prefix"
    asked = {"as released": ()} | ({"with the fix": (fix,)} if fix in lab.fixes else {})
    found = {
        name: [
            play(lab, directory, seed, queued, fixes)
            for queued in (False, True)
            for seed in range(seeds)
        ]
        for name, fixes in asked.items()
    }
    sys.stdout.write(json.dumps(found) + "\n")
