"""Plays sound workloads of the catalogue with every check, and prints where devices were mixed.

python -m tests.lab.mixed_devices_child DIRECTORY NAME...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from triage.lab import bootstrap

bootstrap.prepare()

from tests.mixed_devices import MixedDevices  # noqa: E402, after the interpreter is set
from triage.lab.bugs import find  # noqa: E402
from triage.lab.matrix import EVERYTHING, play  # noqa: E402
from triage.lab.process import start  # noqa: E402


def main() -> None:
    directory, *names = sys.argv[1:]
    mode, ended = MixedDevices(), {}
    with mode:
        process = start(traps=True, fixes=(), directory=Path(directory), checks=EVERYTHING)
        for name in names:
            bug = find(name)
            if not bug.applies():
                seen = play(process, bug, Path(directory), checks=(EVERYTHING,), inject=False)
                ended[name] = f"{seen.ended} {seen.alarm}".strip()
    print(json.dumps({"ended": ended, "found": sorted(set(mode.found))}))


if __name__ == "__main__":
    main()
