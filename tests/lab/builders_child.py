"""Triton's, FA3's and FlashInfer's builders under a server's traps; prints JSON.

python builders_child.py DIRECTORY MODE
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from triage.errors import TrapError
from triage.lab.flashinfer_stub import EmulatedFault
from triage.lab.process import start
from triage.lab.reinject import reinject
from triage.lab.rig import Bench
from triage.lab.scenarios import find, with_backend

DIRECTORY, MODE = Path(sys.argv[1]), sys.argv[2]
PROCESS = start(traps=True, fixes=(), directory=DIRECTORY, mode=MODE)


def play(name, backend, defect=None, traps=True, page=None):
    scenario = with_backend(find(name), backend, defect)
    if page is not None:
        g = scenario.geometry
        tokens = {"swa_pages": g.swa_pages * g.page_size, "full_pages": g.full_pages * g.page_size}
        scenario = replace(scenario, geometry=replace(g, page_size=page, **tokens))
    with reinject(defect) if defect else nullcontext():
        PROCESS.arm(traps=traps, fixes=(), directory=DIRECTORY)
        bench = Bench(PROCESS, scenario, audit=True)
        trapped = dump = None
        try:
            bench.driver.run(lambda done, total: None, 10)
        except TrapError as error:
            trapped, dump = error.evidence, error.dump
        except EmulatedFault:
            pass  # in the oracle's first_wrong as well
        finally:
            bench.close()
    first = bench.gpu.first_wrong
    counts = PROCESS.traps.counts
    return {
        "launches": bench.gpu.launches,
        "judged": counts["slot streams"] + counts["tables"],
        "not covered": counts["launches not covered"],
        "not identified": counts["launches not covered for identity"],
        "dump": dump,
        "first wrong": first.launch if first else None,
        "audit": bench.audit.wrong,
        "trapped": trapped and [trapped.invariant, trapped.pool, trapped.violations[0].tensor],
    }


def main() -> None:
    answer = {}
    for backend in ("triton", "fa3", "flashinfer"):
        answer[backend] = play("smoke-plain" if backend == "flashinfer" else "smoke-eagle", backend)
        answer[f"{backend}, page 1"] = play("smoke-plain", backend, page=1)
        answer[f"{backend}, defect"] = play("smoke-plain", backend, "full-ids-in-window")
        answer[f"{backend}, defect, no trap"] = play(
            "smoke-plain", backend, "full-ids-in-window", traps=False
        )
    answer["triton, defect of trtllm_mha"] = play("smoke", "triton", "stale-swa-state")
    print(json.dumps(answer))


main()
