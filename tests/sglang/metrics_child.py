"""A scheduler process as far as its metrics: real traps and classes, the loop is the lab's driver.

`metrics_child DIRECTORY`: serves four requests, then one with other requests' page tables, then
waits for a line on standard input. `SCHEDULER` is a stub: SGLang's own needs a model.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.errors import TrapError
from triage.lab.bugs import find
from triage.lab.bugs.bug import SMALL
from triage.lab.process import start
from triage.lab.rig import Bench

SCHEDULER = SimpleNamespace(server_args=SimpleNamespace(enable_metrics=True), tp_rank=3)


def main(directory: Path) -> None:
    process = start(traps=True, fixes=(), directory=directory)

    def play(scenario: Any) -> None:
        bench = Bench(process, scenario)
        try:
            bench.driver.run(lambda done, total: None)
        finally:
            bench.close()

    def loop(scheduler: Any) -> str:
        play(SMALL)
        print("served", flush=True)
        sys.stdin.readline()
        bug = find("another-requests-row")
        try:
            with bug.inject(lambda: None):
                play(bug.scenario)
        except TrapError:
            print("trapped", flush=True)
        sys.stdin.readline()
        return "ended"

    print(process.installed.scheduling.run_event_loop(loop, SCHEDULER), flush=True)
    print(dict(process.traps.counts), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
