"""Decode steps through SGLang's own backends with the slots' oracle, and an exchange; JSON.

python -m tests.lab.server.slots_child DIRECTORY MODE BEGINS BACKEND eager|graph

BEGINS: the forward with which `page-exchange` begins, 0 for never. BACKEND: flashinfer or triton.
graph: decode gets the buffers of a graph for four rows, which SGLang's replay entry fills.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.dump.file import read_dump
from triage.errors import TrapError
from triage.lab.forwards import Forwards
from triage.lab.patching import replaced
from triage.lab.process import start
from triage.lab.rig import Bench
from triage.lab.scenarios import find, with_backend
from triage.lab.server.defects import Switch, _Exchange
from triage.lab.server.late import moments
from triage.lab.server.oracle import read_account
from triage.lab.server.slot_oracle import SlotOracle


def main(directory: Path, mode: str, begins: int, backend: str, form: str) -> None:
    process = start(traps=True, fixes=(), directory=directory, mode=mode)
    told, control = moments(), directory / "control"
    defect, oracle = _Exchange(Switch(control), "target"), SlotOracle(directory / "oracle.jsonl")
    told.observers += [defect, oracle]
    defect.bind(told)
    oracle.bind(told)
    bench = Bench(process, with_backend(find("smoke-plain"), backend))
    if form == "graph":
        bench.driver.forwards.graphs = True
        bench.runtime.reads = lambda read: None  # the lab's own reader knows no padded rows
    told.pools.append(bench.runtime.token_to_kv_pool)
    told.scheduler = SimpleNamespace(req_to_token_pool=bench.runtime.req_to_token_pool)
    trapped: dict[str, Any] = {}
    told_by: dict[str, int] = {}  # a dump of a launch that is wrong -> the forward behind which

    def make(original: Any) -> Any:
        def _launch(self: Any, role: str, fb: Any, batch: Any, *rest: Any) -> None:
            if told.steps + 1 == begins:
                control.touch()
            step = told.begin([SimpleNamespace(**_row(each)) for each in batch])
            try:
                original(self, role, fb, batch, *rest)
            finally:
                told.settle(step)
                told.step = None
                for path in directory.glob("*.msgpack"):
                    if read_dump(path).fault.invariant == "I2":
                        told_by.setdefault(str(path), told.steps)

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
                "form": account.form,
                "failures": account.failures,
                "tables": oracle.tables,
                "steps": told.steps,
                "skipped": oracle.skipped,
                "trapped": trapped,
                "dumps": told_by,
                "others": sorted(
                    {read_dump(path).fault.invariant for path in directory.glob("*.msgpack")}
                    - {"I2"}
                ),
            }
        )
    )


def _row(request: Any) -> dict[str, Any]:
    return {"rid": str(request.req_pool_idx), "req_pool_idx": request.req_pool_idx}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
