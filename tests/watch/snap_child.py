"""A process that has watched one forward and listens: `python -m tests.watch.snap_child DIR`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.watch.forward import Forward, armed
from triage.lab.decode_step import Step


def main() -> None:
    step = Step(layers=6, rows=2, width=12)
    traps = armed(step, Path(sys.argv[1]))
    Forward(step, traps).run()
    with traps.history.listening():
        print("listening", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    main()
