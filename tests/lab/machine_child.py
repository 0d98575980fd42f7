"""One search over a builder with a defect; prints the shrunk failure as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from triage.lab import machine
from triage.lab.combinations import Combination
from triage.lab.reinject import reinject


def main(directory: Path) -> None:
    machine.begin(directory)
    machine.of_release = lambda version: (Combination("none", 16, "fa3"),)
    with reinject("full-ids-in-window"):
        tally, failure = machine.search(10, 12, directory)
    assert failure is not None, f"{sum(tally.steps.values())} steps and nothing fired"
    print(json.dumps({"error": failure.error, "oracle": failure.oracle, "script": failure.script}))


main(Path(sys.argv[1]))
