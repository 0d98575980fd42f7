"""What commands say while they work and when they are done."""

from __future__ import annotations

import fcntl
import inspect
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.cli.every_command import commands
from triage.cli import main
from triage.dump.file import write_dump

WORK = """
import time
from triage.commands.progress import progress
with progress("replay", after_s={after}) as tell:
    for step in range(8):
        tell(step, 8, "eager")
        time.sleep(0.1)
print("done")
"""


def on_a_terminal(code: str, columns: int = 80) -> tuple[str, str]:
    """(what stderr, a terminal, shows; what stdout, a pipe, gets)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        env={name: value for name, value in os.environ.items() if name != "COLUMNS"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert child.stdout is not None
    with child.stdout as stdout:
        out = stdout.read()
    assert child.wait() == 0
    return shown.decode(), out


def test_a_bar_with_an_estimate_is_on_the_terminal_and_not_in_the_output():
    shown, out = on_a_terminal(WORK.format(after=0.05))
    assert "replay: eager" in shown and "/8" in shown and "left" in shown
    assert out == "done\n"


@pytest.mark.parametrize("columns", [60, 70, 100])
def test_a_narrow_terminal_shows_every_figure_and_they_move(columns):
    long = WORK.format(after=0.05).replace("eager", "a kernel whose name is longer than most are")
    shown, _ = on_a_terminal(long, columns)
    rows = [
        re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", row).strip() for row in re.split(r"[\r\n]", shown)
    ]
    rows = [row for row in rows if row.startswith("replay")]
    assert rows and max(map(len, rows)) <= columns
    figures = [re.search(r" (\d)/8 (\d+) s left (\S+)$", row) for row in rows]
    assert all(figures), rows
    assert len({each[1] for each in figures}) > 1


def test_quick_work_shows_no_bar():
    shown, out = on_a_terminal(WORK.format(after=30))
    assert "replay" not in shown and out == "done\n"


def test_a_log_gets_no_bar(monkeypatch, capsys):
    from triage.commands.progress import progress

    with progress("work", 3, after_s=0) as tell:
        tell(1, 3, now="a step")
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


QUICK = {
    "export", "import", "redact", "run", "snap", "kernels resolve", "fusions port",
    "fusions show", "lab list", "lab machine", "merge", "pools", "minimise",
}  # fmt: skip
"""Commands without a bar: 0.2 to 1.3 s each where nothing else runs, or (`run`) another's
output; `minimise` and `lab machine` tell each step in a line."""


@pytest.mark.parametrize("path", [path for path, _ in commands(main)], ids=" ".join)
def test_a_command_is_quick_or_tells_how_far_it_is(path):
    command = dict(commands(main))[path]
    source = inspect.getsource(sys.modules[inspect.unwrap(command.callback).__module__])
    tells = re.search(r"triage\.commands\.(progress import|workload import .*\bdrive\b)", source)
    assert tells or " ".join(path) in QUICK


def test_the_self_test_tells_which_of_its_tests_runs(monkeypatch):
    from triage.doctor import self_test

    told = []
    monkeypatch.setattr(self_test, "_show", lambda where, *_: self_test.Shown(where, "", "", {}))
    self_test.self_test({}, gpu=True, progress=lambda done, now: told.append((done, now)))
    assert told == [(0, "self-test of the hooks"), (1, "self-test on the GPU")]


def test_what_is_measured_is_counted_before(monkeypatch):
    bench = pytest.importorskip("triage_kernels.perf.bench")
    tune = pytest.importorskip("triage_kernels.perf.tune")
    # GIVEN a plan of one op, two row counts and two contenders
    name = bench.OURS[0].name
    plan = bench.BenchPlan(ops=(name,), rows=(1, 64), contenders=("ours", "copy"))
    shapes = [spec.name for _, spec, _ in bench._shapes(plan)]
    # THEN each shape is counted once per contender, and of the tiles each on each shape
    assert set(shapes) == {name} and bench.measurement_count(plan) == 2 * len(shapes)
    assert tune.trial_count() == sum(
        1 for group, members in tune.shapes().items() for _ in members for _ in tune.tiles(group)
    )


@pytest.fixture
def dump(tmp_path) -> Path:
    return write_dump(dumps.make_dump(dumps.SMALL), tmp_path, name="small.msgpack")


def test_each_step_names_the_next_one(dump, tmp_path):
    small, made = tmp_path / "s.msgpack", tmp_path / "test_it.py"
    for arguments, following in (
        (["show", dump], f"next:  triage replay {dump} --fix state-swap"),
        (["explain", dump], f"next: triage replay {dump} --fix state-swap"),
        (["replay", dump, "--kernel", "emulator"], f"next: triage minimise {dump} -o"),
        (["minimise", dump, "-o", small], f"next: triage export {small} --as pytest"),
        (
            ["export", small, "-o", made],
            f"wrote {made}\nit needs pytest\nnext: python -m pytest {made}",
        ),
    ):
        ran = CliRunner().invoke(main, list(map(str, arguments)))
        assert ran.exit_code in (0, 1), ran.output
        assert following in ran.output
