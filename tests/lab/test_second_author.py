"""The defects of the second author: each is a defect, and one of its own.

Whether the traps see them is the matrix's business. Here the lab's oracles, without
any trap, must find the state wrong where a defect is put back, or it measures nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from triage.lab.bugs import CATALOGUE, SECOND

FIRST = [bug for bug in CATALOGUE.values() if bug not in SECOND]

UNTIL_WRONG = """
import json, sys
from dataclasses import replace
from pathlib import Path

from triage.lab.process import start

process = start(traps=False, fixes=(), directory=Path(sys.argv[1]))

from triage.lab.bench import Bench
from triage.lab.bugs import SECOND

class FirstWrong(Exception):
    pass

def stop(*_):
    raise FirstWrong

def found_wrong(bug):
    layers = replace(bug.scenario.geometry, num_layers=3, kv_shared_layers=0)  # half the launches
    scenario = replace(bug.scenario, geometry=layers)
    with bug.inject(stop):
        bench = Bench(process, scenario, overlap=bug.overlap, audit=True)
        bench.gpu.on_wrong = bench.audit.on_wrong = stop
        try:
            bug.play(bench)
        except FirstWrong:
            return True
        finally:
            bench.close()
    return False

print(json.dumps({bug.name: bug.applies() or found_wrong(bug) for bug in SECOND}))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool | str]:
    """Every one played to the first wrong state, in a process of their own."""
    directory = tmp_path_factory.mktemp("dumps")
    done = subprocess.run(
        [sys.executable, "-c", UNTIL_WRONG, str(directory)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("bug", SECOND, ids=lambda bug: bug.name)
def test_putting_it_back_makes_the_state_wrong(bug, outcomes):
    # An entry that does not apply says why, here on the release that is installed
    assert outcomes[bug.name] is True, outcomes[bug.name]


def test_none_is_a_duplicate_and_each_names_a_class_that_the_catalogue_has():
    assert len(SECOND) >= 8
    assert len(CATALOGUE) == len(FIRST) + len(SECOND)
    known = {bug.cause for bug in FIRST}
    for bug in SECOND:
        assert bug.what not in {other.what for other in FIRST}, bug.name
        assert not bug.cause or {bug.cause, *bug.also} <= known, bug.name
        assert bug.reference and bug.invariants and not bug.released, bug.name
