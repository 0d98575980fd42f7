"""Plays bugs of the catalogue by name, and the same workloads without them; prints what fired.

python -m tests.ledger.books_child DIRECTORY NAME...
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

from triage.lab.bugs import find  # noqa: E402, after the interpreter is set
from triage.lab.matrix import EVERYTHING, _explained, play  # noqa: E402
from triage.lab.process import start  # noqa: E402


def main() -> None:
    directory, *names = sys.argv[1:]
    process = start(traps=True, fixes=(), directory=Path(directory), checks=EVERYTHING)
    found = {}
    for name in names:
        bug = find(name)
        seen = play(process, bug, Path(directory), checks=(EVERYTHING,))
        counts: dict[str, int] = {}

        def counted(bench: Any, bug: Any = bug, counts: dict[str, int] = counts) -> None:
            bug.play(bench)
            counts |= process.traps.counts

        workload = replace(bug, play=counted)
        healthy = play(process, workload, Path(directory), checks=(EVERYTHING,), inject=False)
        found[name] = {
            "seen": asdict(seen),
            "healthy": asdict(healthy),
            "explained": _explained(bug, seen),
            "applies": bug.applies(),
            "counts": counts,
            "not covered": sorted(process.installed.not_covered),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
