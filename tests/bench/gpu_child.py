"""A run of three small steps, to be killed: `gpu_child.py OUT`."""

import sys
from pathlib import Path

from triage.bench.gpu import BUDGET, Step, run_all

OUT = Path(sys.argv[1])


def appends(name: str, *more: str) -> tuple[str, ...]:
    note = f"open({str(OUT / name)!r}, 'a').write('x')"
    return (sys.executable, "-c", "; ".join(["import sys, time", note, *more]))


# `slow` hangs until the test has put the file `go` there.
HANGS = f"[time.sleep(60) for _ in range(not __import__('os').path.exists({str(OUT / 'go')!r}))]"

STEPS = [
    Step("first", appends("first"), 30),
    Step("slow", appends("slow", HANGS), 30),
    Step("fails", appends("fails", "sys.exit(7)"), 30),
    Step("resumes", (*appends("resumes"), BUDGET), 40),
]

if __name__ == "__main__":
    sys.exit(0 if run_all(STEPS, OUT, 300) else 3)
