"""What commands say while they work and when they are done."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
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


def on_a_terminal(code: str) -> tuple[str, str]:
    """(what stderr, a terminal, shows; what stdout, a pipe, gets)."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, text=True
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


def test_quick_work_shows_no_bar():
    shown, out = on_a_terminal(WORK.format(after=30))
    assert "replay" not in shown and out == "done\n"


def test_a_log_gets_no_bar(monkeypatch, capsys):
    from triage.commands.progress import progress

    with progress("work", 3, after_s=0) as tell:
        tell(1, 3, now="a step")
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


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
        (["export", small, "-o", made], f"next: python -m pytest {made}"),
    ):
        ran = CliRunner().invoke(main, list(map(str, arguments)))
        assert ran.exit_code in (0, 1), ran.output
        assert following in ran.output
