"""The injector of a server, on SGLang's own classes: each step one error, and nothing changes."""

from __future__ import annotations

import json

from tests import prepared
from triage.lab.server import inject

CHILD = """
import json, sys
from pathlib import Path
from triage.lab import bootstrap
bootstrap.prepare()
from triage.lab.drivers.pools import Driver
from triage.lab.run import Request, run
from triage.lab.scenarios import find
from triage.lab.server.inject import Injector
from triage.lab.server.late import Step

out, control = Path(sys.argv[1]), Path(sys.argv[2])
injector, tick = Injector(out, control), Driver.tick

def spoiled(driver):
    injector.begin(Step(driver.step, []))
    return tick(driver)

Driver.tick = spoiled
digests = []
for _ in range(2):  # the second with errors
    report = run(Request(find("smoke"), directory=Path(sys.argv[3]), max_steps=24))
    digests.append([report.outcome, report.tables_digest, report.launches])
    control.touch()
sys.settrace(None)
print(json.dumps(digests))
"""


def test_an_error_a_step_leaves_the_same_launches_and_is_told_once(tmp_path):
    # GIVEN a run of SGLang's pools and backends with the traps armed
    out = tmp_path / "injected.jsonl"
    names = [str(out), str(tmp_path / "control"), str(tmp_path / "dumps")]
    done = prepared.python("-c", CHILD, *names)
    plain, spoiled = json.loads(done.stdout.splitlines()[-1])
    # THEN the same with an error of ours in every step, each of another function
    assert spoiled == plain and plain[0] == "clean", done.stderr[-2000:]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({row["function"] for row in rows}) == len(rows) >= 20
    assert all(row["told"] == 1 for row in rows), rows
    seen = inject.read(out)
    assert seen["errors"] == seen["told once"] == len(rows)
