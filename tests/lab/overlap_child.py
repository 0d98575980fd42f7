"""Plays SGLang's overlap order, healthy and with a real use after free; says what was raised.

python -m tests.lab.overlap_child MODE DIRECTORY
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triage.errors import LabError, TrapError
from triage.lab.drivers.schedule_batch import CACHES
from triage.lab.matrix import EVERYTHING
from triage.lab.process import LabProcess, start
from triage.lab.rig import Bench
from triage.lab.scenarios import Scenario, find

Bug = Callable[[Any], None]


def scenario(cache: str, draft: str = "none", *, graphs: bool = False, pages: int = 40) -> Scenario:
    """Two dozen requests through pools so small that some are retracted."""
    plain = find({"none": "smoke-plain", "frozen": "smoke", "eagle": "smoke-eagle"}[draft])
    if draft != "none":
        return dataclasses.replace(plain, queued=True, requests=6, output_tokens=24)
    geometry = dataclasses.replace(
        plain.geometry, full_pages=pages, swa_pages=pages, max_requests=8
    )
    return dataclasses.replace(
        plain,
        cache=cache,
        geometry=geometry,
        queued=True,
        graphs=graphs,
        requests=12,
        concurrency=6,
        prompt_tokens=60,
        output_tokens=16,
        chunk=48,
    )


def frees_a_row_that_is_planned(driver: Any) -> None:
    """A request is released between the plan of a step and its launch, and stays in it."""
    queue = driver._queue

    def early(batch: Any) -> Any:
        if driver.step == 6 and not batch.forward_mode.is_extend():
            from sglang.srt.managers.schedule_batch import FINISH_ABORT

            req = batch.reqs[0]
            req.finished_reason = FINISH_ABORT("too early")
            driver._release(req)
        return queue(batch)

    driver._queue = early


def frees_a_page_under_a_request(driver: Any) -> None:
    """The page that a living request writes to goes while its step is queued."""
    look_at = driver._look_at

    def careless(queued: Any) -> None:
        look_at(queued)
        living = [req for req in queued.reqs if not req.finished() and not req.is_retracted]
        if driver.step >= 6 and living and not queued.extend:
            pools = driver.runtime
            row = pools.req_to_token_pool.req_to_token[queued.rows[living[-1]]]
            last = living[-1].seqlen
            slots = row[last : last + 1].to(torch.int64)
            pools.token_to_kv_pool_allocator.free_swa(slots)

    driver._look_at = careless


def play(
    process: LabProcess, scenario: Scenario, directory: Path, seed: int, bug: Bug | None = None
) -> dict[str, Any]:
    process.arm(traps=True, fixes=(), directory=directory)
    try:
        rig = Bench(process, scenario, seed=seed)
    except LabError as absent:  # a release without that cache
        return {"left out": str(absent)}
    driver, rng = rig.driver, np.random.default_rng(seed)
    if bug is not None:
        bug(driver)
    error = ""
    try:
        while driver.rows and driver.step < 200:
            if rng.integers(0, 8) == 0:
                driver.abort(int(rng.integers(0, 9)))
            driver.tick()
    except TrapError as alarm:
        error = alarm.evidence.headline()
    finally:
        rig.close()
    return {
        "error": error,
        "steps": driver.step,
        "oracle": rig.wrong and rig.wrong[1],
        "moved": process.traps.counts["offenders of rows moved in flight"],
        "violations": process.traps.counts["violations"],
    }


def main() -> None:
    mode, directory = sys.argv[1], Path(sys.argv[2])
    process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING, mode=mode)
    healthy = {}
    for number, cache in enumerate(CACHES):
        for graphs in (False, True):
            small = scenario(cache, graphs=graphs)
            healthy[f"{cache}, {graphs=}"] = play(process, small, directory, number)
    for draft in ("frozen", "eagle"):
        healthy[draft] = play(process, scenario("", draft), directory, 1)
    roomy = scenario("unified", pages=64)
    bugs = {
        bug.__name__: play(process, roomy, directory, 3, bug)
        for bug in (frees_a_row_that_is_planned, frees_a_page_under_a_request)
    }
    print(json.dumps({"sglang": process.version, "healthy": healthy, "bugs": bugs}))


if __name__ == "__main__":
    main()
