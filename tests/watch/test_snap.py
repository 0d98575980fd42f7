"""`triage snap`: an armed process writes its ring, any other is left alone."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from triage.cli import main
from triage.dump.file import read_dump


@pytest.fixture
def child(tmp_path):
    command = [sys.executable, "-m", "tests.watch.snap_child", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield process
        process.kill()


def test_a_running_process_is_asked_and_goes_on(child, tmp_path):
    # WHEN it is asked twice
    for _ in range(2):
        done = CliRunner().invoke(main, ["snap", str(child.pid), "--dir", str(tmp_path)])
        # THEN each answer names a file with the ring, and the process lives
        assert done.exit_code == 0, done.output
    path = done.output.splitlines()[0].removeprefix("wrote ").strip()
    assert len(read_dump(path and tmp_path / path).history) == 2
    assert child.poll() is None
    # AND the ring is listed
    shown = CliRunner().invoke(main, ["show", "--history", path])
    assert "no id was wrong in the 2 launches" in shown.output


def test_a_process_that_does_not_listen_is_not_signalled(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        done = CliRunner().invoke(main, ["snap", str(process.pid), "--dir", str(tmp_path)])
        # AND a marker left by another process of that number does not count either
        (tmp_path / f"armed.{process.pid}").touch()
        again = CliRunner().invoke(main, ["snap", str(process.pid), "--dir", str(tmp_path)])
        alive = process.poll() is None
        process.kill()
    assert done.exit_code == again.exit_code == 2
    assert "no traps are armed there" in done.output and alive
