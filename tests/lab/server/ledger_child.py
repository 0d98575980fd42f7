"""A ledger defect of the server lab under SGLang's real requests, batches, tree and allocators.

What a server process does around them is played here: `moments()` is told of each step before
it is launched, and what finished requests give back lies in a free group, as in
`process_batch_result_decode`. Prints what was raised and the hands on the pages, as JSON.

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
    begin, decode = driver.guard.begin, driver._decode

    def begun() -> int:
        mine.begin(list(driver.cur_batch.reqs))
        return begin()

    def decoded() -> None:
        allocator.free_group_begin()
        decode()
        allocator.free_group_end()

    driver.guard.begin = begun
    driver._decode = decoded if defect == "double-free" else decode
    raised = ""
    try:
        driver.run(lambda done, total: None)
    except TrapError as error:
        raised = str(error)
    except (AssertionError, RuntimeError) as error:
        raised = f"SGLang: {error}"
    dumps = [explained(path).json() for path in sorted(directory.glob("*.msgpack"))]
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
