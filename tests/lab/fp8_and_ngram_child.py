"""fp8 caches and ngram drafts under a server's traps, sound and with a mistake; prints JSON.

python -m tests.lab.fp8_and_ngram_child DIRECTORY
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from triage.errors import TrapError
from triage.lab.flashinfer_stub import EmulatedFault
from triage.lab.process import start
from triage.lab.reinject import reinject
from triage.lab.rig import Bench
from triage.lab.scenarios import find, with_backend

DIRECTORY = Path(sys.argv[1])
PROCESS = start(traps=True, fixes=(), directory=DIRECTORY)
PLANTED_AT = 5  # decode steps


def play(backend: str, defect: str | None = None, plant: bool = False, **changed: Any) -> Any:
    scenario = replace(with_backend(find("smoke-plain"), backend), requests=4, **changed)
    with reinject(defect) if defect else nullcontext():
        PROCESS.arm(traps=True, fixes=(), directory=DIRECTORY)
        bench = Bench(PROCESS, scenario, audit=True)
        if plant:
            _misplace(bench)
        trapped = None
        try:
            bench.driver.run(lambda done, total: None, 30)
        except TrapError as error:
            trapped = error.evidence
        except EmulatedFault:
            pass  # in the oracle's first_wrong as well
        finally:
            bench.close()
    first = bench.gpu.first_wrong
    return {
        "steps": bench.driver.step,
        "launches": bench.gpu.launches,
        "first wrong": first.launch if first else None,
        "trapped": trapped and [trapped.invariant, trapped.pool, trapped.violations[0].tensor],
    }


def _misplace(bench: Bench) -> None:
    """One decode step is to store its first token behind the pool."""
    original, steps = bench.driver.forwards.decode, 0
    behind = bench.runtime.token_to_kv_pool.full_kv_pool.size + bench.runtime.geometry.page_size

    def decode(rows: Any, loc: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == PLANTED_AT:
            loc = loc.clone()
            loc[0] = behind
        original(rows, loc)

    bench.driver.forwards.decode = decode  # type: ignore[method-assign]


def main() -> None:
    answer = {
        f"fp8 {name}": play(name, fp8=True)
        for name in ("trtllm_mha", "triton", "fa3", "flashinfer")
    }
    answer |= {
        f"fp8 {name}, misplaced": play(name, plant=True, fp8=True) for name in ("trtllm_mha", "fa3")
    }
    answer |= {f"ngram {name}": play(name, draft="ngram") for name in ("trtllm_mha", "triton")}
    answer["ngram triton, full ids"] = play("triton", "full-ids-in-window", draft="ngram")
    answer["ngram flashinfer"] = play("flashinfer", draft="ngram")
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
