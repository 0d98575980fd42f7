"""The story of docs/batch.md, played: `python -m triage.bench.batch_story`.

A folder of the golden dumps, a copy and a file that was cut is explained twice; a
transcript is cut from what this prints (`triage/bench/transcripts.py`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path("out/batch-story")
COMMANDS = (
    ("triage batch fleet --workers 2", (2,)),
    ("triage batch fleet --workers 2 # again", (2,)),
    ("triage batch report results.parquet -o batch.html", (0,)),
)


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    fleet = FOLDER / "fleet"
    fleet.mkdir(parents=True)
    for dump in sorted(Path("dumps").rglob("*.msgpack")):
        shutil.copy(dump, fleet)
    shutil.copy(fleet / "e4b_out_of_range.msgpack", fleet / "sent_twice.msgpack")
    whole = (fleet / "e4b_out_of_range.msgpack").read_bytes()
    (fleet / "half.msgpack").write_bytes(whole[: len(whole) // 2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    for number, (command, codes) in enumerate(COMMANDS, 1):
        print(f"== {number}: {command}", flush=True)
        words = ["-m", *command.partition(" #")[0].split()]
        done = subprocess.run([sys.executable, *words], cwd=FOLDER, env=environment)
        if done.returncode not in codes:
            raise SystemExit(f"{command} ended with {done.returncode}")
        print(flush=True)


if __name__ == "__main__":
    main()
