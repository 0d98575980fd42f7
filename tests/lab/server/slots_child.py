"""Decode steps through SGLang's FlashInfer backend with the slots' oracle, and an exchange; JSON.

python -m tests.lab.server.slots_child DIRECTORY MODE BEGINS

BEGINS: the forward with which `page-exchange` begins, 0 for never.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.errors import TrapError
from triage.lab.forwards import Forwards
from triage.lab.patching import replaced
from triage.lab.process import start
from triage.lab.rig import Bench
from triage.lab.scenarios import find, with_backend
from triage.lab.server.defects import Switch, _Exchange
from triage.lab.server.late import Row, moments
from triage.lab.server.oracle import read_account
from triage.lab.server.slot_oracle import SlotOracle


def main(directory: Path, mode: str, begins: int) -> None:
    process = start(traps=True, fixes=(), directory=directory, mode=mode)
    told, control = moments(), directory / "control"
    defect, oracle = _Exchange(Switch(control), "target"), SlotOracle(directory / "oracle.jsonl")
    told.observers += [defect, oracle]
    defect.bind(told)
    oracle.bind(told)
    bench = Bench(process, with_backend(find("smoke-plain"), "flashinfer"))
    told.pools.append(bench.runtime.token_to_kv_pool)
    told.scheduler = SimpleNamespace(req_to_token_pool=bench.runtime.req_to_token_pool)
    trapped: dict[str, Any] = {}

    def make(original: Any) -> Any:
        def _launch(self: Any, role: str, fb: Any, batch: Any, *rest: Any) -> None:
            if told.steps + 1 == begins:
                control.touch()
            step = told.begin([])
            step.rows += [
                Row(SimpleNamespace(rid=str(each.req_pool_idx)), each.req_pool_idx)
                for each in batch
            ]
            try:
                original(self, role, fb, batch, *rest)
            finally:
                told.settle(step)
                told.step = None

        return _launch

    with replaced(Forwards, "_launch", make):
        try:
            bench.driver.run(lambda done, total: None, None)
        except TrapError as error:
            trapped = {
                "invariant": error.evidence.invariant,
                "dump": str(error.dump),
                "step": told.steps,
            }
        finally:
            bench.close()
    account = read_account(directory / "oracle.jsonl")
    print(
        json.dumps(
            {
                "first wrong": account.first_wrong,
                "space": account.space,
                "failures": account.failures,
                "tables": oracle.tables,
                "steps": told.steps,
                "skipped": oracle.skipped,
                "trapped": trapped,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
