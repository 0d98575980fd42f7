"""Plays bugs of the catalogue with every check on; prints what is told of the pages, as JSON.

python -m tests.page_history.bugs_child DIRECTORY BUG...
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from triage.dump.file import read_dump
from triage.lab import bootstrap


def main(directory: Path, names: list[str]) -> None:
    bootstrap.prepare()
    from triage.lab.bugs import find
    from triage.lab.matrix import EVERYTHING, play
    from triage.lab.process import start

    process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING)
    for name in names:
        bug = find(name)
        if bug.applies():
            continue
        seen = play(process, bug, directory, checks=(EVERYTHING,))
        fault = read_dump(Path(seen.dump)).fault
        told = {
            "bug": name,
            "alarm": seen.alarm,
            "error": fault.whose_hand(),
            "pages": [asdict(each) for each in fault.pages],
            "failures": process.installed.shells.failures,
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
