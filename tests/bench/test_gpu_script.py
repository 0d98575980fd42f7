"""The script behind `make gpu` is cut off at will and goes on where it stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from triage.bench.gpu import BUDGET, CUT_OFF, Step, run, run_all, steps

CHILD = Path(__file__).with_name("gpu_child.py")


def start(out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(CHILD), str(out)], stdout=subprocess.DEVNULL)


def state(out: Path) -> dict[str, dict[str, object]]:
    return json.loads((out / "state.json").read_text())


def test_a_killed_run_keeps_what_was_done_and_runs_the_rest(tmp_path):
    # GIVEN a run that is killed while its second step hangs
    child = start(tmp_path)
    deadline = time.monotonic() + 30
    while not (tmp_path / "slow").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert list(state(tmp_path)) == ["first"]
    # WHEN it is run again
    (tmp_path / "go").touch()
    assert start(tmp_path).wait(60) == 0
    # THEN the finished step is not repeated, the killed one is, a failure stops nothing
    runs = {name: (tmp_path / name).read_text() for name in ("first", "slow", "fails", "resumes")}
    assert runs == {"first": "x", "slow": "xx", "fails": "x", "resumes": "x"}
    assert state(tmp_path)["fails"]["exit_code"] == 7
    assert all(each["done"] for each in state(tmp_path).values())


def sleeper(*more: str) -> tuple[str, ...]:
    return (sys.executable, "-c", "import time; time.sleep(30)", *more)


@pytest.mark.parametrize(
    ("step", "limit_s", "done"),
    [
        (Step("whole limit", sleeper(), 0.3), 0.3, True),
        (Step("cut by the budget", sleeper(), 60), 0.3, False),
        (Step("resumes", sleeper(BUDGET), 0.3), 0.3, False),
    ],
    ids=lambda value: value.name if isinstance(value, Step) else "",
)
def test_a_step_cut_off_is_done_only_if_it_had_its_whole_limit(tmp_path, step, limit_s, done):
    outcome = run(step, tmp_path, limit_s)
    assert (outcome.exit_code, outcome.done) == (CUT_OFF, done)


def test_a_step_cut_off_is_ended_with_what_it_started(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    run(Step("family", (sys.executable, "-c", code), 60), tmp_path, 1.5)
    grandchild = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    deadline = time.monotonic() + 10
    while running(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(grandchild)


def running(stat: Path) -> bool:
    try:
        return stat.read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_nothing_is_begun_without_time_for_it(tmp_path):
    told = []
    assert not run_all([Step("a", sleeper(), 60)], tmp_path, 5, tell=told.append)
    assert told == ["budget spent before a; run again to go on"]


def test_the_steps_are_there_in_order_of_worth(tmp_path):
    names = [step.name for step in steps(tmp_path)]
    assert names[:4] == ["pytest", "bench", "trap-cost", "tma-band"]
    assert len(set(names)) == len(names)
    assert {"probe-fa3", "replay-e4b_out_of_range", "validate-sglang"} < set(names)
