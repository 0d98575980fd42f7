"""Sound starts of the lab's servers, drafts built before their pool is lent; prints JSON.

    python -m tests.sglang.sound_start_child DIRECTORY MODE [state-swap [stale-swa-state]]

Each start builds SGLang's backends with its own constructors, a frozen draft's over the draft's
own pool, which the views swap for the target's later, and then serves some requests. Beside what
was told of each stands how often each fix had something to mend. Left out is what every release
does (a decode through Triton reads a key too few, sgl-project/sglang#32087), and is told as that.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

from triage.dump.file import read_dump  # noqa: E402, after the interpreter is set
from triage.invariants.found import Found  # noqa: E402
from triage.lab.process import start  # noqa: E402
from triage.lab.rig import Bench  # noqa: E402
from triage.lab.scenarios import find, with_backend  # noqa: E402

DIRECTORY, MODE, FIXES = Path(sys.argv[1]), sys.argv[2], tuple(sys.argv[3:4])
DEFECT = sys.argv[4] if len(sys.argv) > 4 else None  # that the fix is for, put back
STARTS = ("trtllm_mha smoke", "trtllm_mha smoke-eagle", "trtllm_mha smoke-plain", "triton smoke")
FORWARDS = 12
NO_FINDING = ("in this SGLang as released", "a launch is not covered")


class Told(logging.Handler):
    """What the traps found, which they log as an error. What is not covered is no finding."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not any(each in record.getMessage() for each in NO_FINDING):
            self.lines.append(record.getMessage())


def served(process: Any, told: Told, start: str) -> dict[str, Any]:
    directory = DIRECTORY / start.replace(" ", "-")
    directory.mkdir(parents=True)
    process.arm(traps=True, fixes=FIXES, directory=directory)
    told.lines.clear()
    backend, _, workload = start.partition(" ")
    error, launches = "", 0
    bench = Bench(process, with_backend(find(workload), backend))
    when_built = list(told.lines)
    try:
        bench.driver.run(lambda done, total: None, FORWARDS)
    except Exception as caught:  # whatever ends a start, the test is told of it
        error = f"{type(caught).__name__}: {caught}"
    finally:
        launches = bench.gpu.launches
        bench.close()
    faults = [read_dump(path).fault for path in sorted(directory.glob("*.msgpack"))]
    dumps = [each.headline() for each in faults if each.found != Found.WINDOW_ONE_SHORT]
    found = {"when built": when_built, "later": told.lines[len(when_built) :], "dumps": dumps}
    return {"told": {**found, "error": error}, "launches": launches}


def main() -> None:
    process = start(traps=True, fixes=FIXES, directory=DIRECTORY, mode=MODE, reinject=DEFECT)
    told = Told()
    logger = logging.getLogger("triage")
    logger.addHandler(told)
    starts = STARTS[:1] if DEFECT else STARTS
    found = {name: served(process, told, name) for name in starts}
    uses = {name: fix.uses for name, fix in process.fixes.items()}
    errors = process.traps.reporter.shells.internal_errors
    print(json.dumps({"starts": found, "errors": errors, "uses": uses}))


if __name__ == "__main__":
    main()
