"""Full-pool ids in the window (a builder that does not translate), under three backends; JSON.

    python -m tests.sglang.reinjected_slots_child DIRECTORY MODE

Prints, for each backend, the dump of the first launch that was wrong, and what it read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.sglang.read_rows import as_read
from triage.dump.file import read_dump
from triage.errors import TrapError
from triage.lab import bootstrap

bootstrap.prepare()

from triage.lab.flashinfer_stub import EmulatedFault  # noqa: E402, after the interpreter is set
from triage.lab.kernel_reads import SlotRead  # noqa: E402
from triage.lab.process import start  # noqa: E402
from triage.lab.rig import Bench  # noqa: E402
from triage.lab.scenarios import find, with_backend  # noqa: E402

DIRECTORY, MODE = Path(sys.argv[1]), sys.argv[2]
DEFECT = "full-ids-in-window"


def play(process: Any, backend: str) -> dict[str, Any]:
    directory = DIRECTORY / backend
    directory.mkdir(parents=True)
    process.arm(traps=True, fixes=(), directory=directory)
    bench = Bench(process, with_backend(find("smoke-plain"), backend, DEFECT))
    reads: list[list[list[int]]] = []

    def note(read: Any) -> None:
        slides = read.window if isinstance(read, SlotRead) else read.window_left >= 0
        wrong = bench.gpu.wrong_launches
        bench.gpu.read(read)
        if slides and bench.gpu.wrong_launches > wrong and not reads:
            reads.append(as_read(read))

    bench.runtime.reads = note
    dump = None
    try:
        bench.driver.run(lambda done, total: None, 40)
    except TrapError as error:
        dump = error.dump
    except EmulatedFault:
        pass
    finally:
        bench.close()
    found = sorted(directory.glob("*.msgpack"), key=lambda path: path.stat().st_mtime_ns)
    written = [path for path in found if read_dump(path).launch is not None]
    return {"dump": dump or str(written[0]), "read": reads[0] if reads else None}


def main() -> None:
    process = start(
        traps=True, fixes=(), directory=DIRECTORY, checks="reads", mode=MODE, reinject=DEFECT
    )
    told = {backend: play(process, backend) for backend in ("triton", "flashinfer", "fa3")}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
