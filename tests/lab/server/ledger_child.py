"""A ledger defect of the server lab under SGLang's real requests, batches, tree and allocators.

What a server process does around them is played here: `moments()` is told of each step before
it is launched. Prints what was raised, its dump and the hands on the pages, as JSON; counts that
are logged before (I7) have dumps of their own, which are left out.

python -m tests.lab.server.ledger_child DIRECTORY DEFECT CHECKS
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from triage.lab import bootstrap


def main(directory: Path, defect: str, checks: str) -> None:
    bootstrap.prepare()
    from triage.errors import TrapError
    from triage.lab.matrix import EVERYTHING
    from triage.lab.process import start
    from triage.lab.rig import Bench
    from triage.lab.scenarios import find
    from triage.lab.server import defects
    from triage.lab.server.late import moments
    from triage.lab.server.result import explained

    if defect != "none":
        defects.insert(defect)
    process = start(
        traps=True, fixes=(), directory=directory, checks=EVERYTHING if checks == "all" else checks
    )
    scenario = replace(find("smoke-plain"), cache="unified")
    bench = Bench(process, scenario)
    driver, mine = bench.driver, moments()
    allocator = bench.runtime.token_to_kv_pool_allocator
    mine.scheduler = SimpleNamespace(
        token_to_kv_pool_allocator=allocator, req_to_token_pool=bench.runtime.req_to_token_pool
    )
    begin = driver.guard.begin

    def begun() -> int:
        mine.begin(list(driver.cur_batch.reqs))
        return begin()

    driver.guard.begin = begun
    raised = ""
    try:
        driver.run(lambda done, total: None)
    except TrapError as error:
        raised = str(error)
    except (AssertionError, RuntimeError) as error:
        raised = f"SGLang: {error}"
    written = sorted(directory.glob("*.msgpack"))
    dumps = [explained(path).json() for path in written if not raised or str(path) in raised]
    print(
        json.dumps(
            {
                "raised": raised,
                "dumps": dumps,
                "steps": mine.steps,
                "failures": process.installed.shells.failures,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
