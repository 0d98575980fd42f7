"""A scenario of the CPU lab with the server's oracle beside the lab's own; prints JSON."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

from triage.lab.emulated_gpu import EmulatedGpu
from triage.lab.flashinfer_stub import EmulatedFault
from triage.lab.process import start
from triage.lab.rig import Bench
from triage.lab.scenarios import find
from triage.lab.server.late import Row, Step, moments
from triage.lab.server.oracle import Oracle, Read, read_account


def main(directory: Path, defect: str) -> None:
    process = start(
        traps=False, fixes=(), directory=directory, reinject=None if defect == "none" else defect
    )
    oracle = Oracle(directory / "oracle.jsonl")
    oracle.moments = moments()
    batch: list[object] = []
    forward, launch = EmulatedGpu.forward, EmulatedGpu.launch
    first: list[int] = []

    def told(self, role, forward_batch, requests, *rest, **named):
        batch[:] = requests
        moments().role = role
        forward(self, role, forward_batch, requests, *rest, **named)

    def launched(self, call):
        rows = [Row(SimpleNamespace(rid=str(r.req_pool_idx)), r.req_pool_idx) for r in batch]
        step = Step(self.step, rows)
        oracle.look(Read.of(call.arguments), step, captured=False)
        oracle.settle(step)
        if oracle.first is not None and not first:
            first.append(self.launches + 1)
        return launch(self, call)

    EmulatedGpu.forward, EmulatedGpu.launch = told, launched
    bench = Bench(process, find("smoke"))
    moments().pools.append(bench.runtime.token_to_kv_pool)
    moments().scheduler = SimpleNamespace(req_to_token_pool=bench.runtime.req_to_token_pool)
    with contextlib.suppress(EmulatedFault):
        bench.driver.run(lambda done, total: None, None)
    lab, account = bench.gpu.first_wrong, read_account(directory / "oracle.jsonl")
    print(
        json.dumps(
            {
                "lab": None if lab is None else [lab.launch, lab.step, lab.role, lab.space],
                "oracle": [*first, account.first_wrong, account.role, account.space]
                if first
                else None,
                "launches": bench.gpu.launches,
                "tables": oracle.tables,
                "skipped": oracle.skipped,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
