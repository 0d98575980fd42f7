"""What a script says on a terminal while a step runs, and when it is done."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

LIB = Path(__file__).parents[2] / "repros" / "lib" / "common.sh"
SCRIPT = f"""
set -euo pipefail
NAME=made_up
. {LIB}
OUT=$1 STEPS=8
"""


def bash(text: str, folder: Path, stderr: int = subprocess.DEVNULL) -> str:
    ran = subprocess.run(
        ["bash", "-c", SCRIPT + text, "bash", str(folder)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHON": "true"},
    )
    return ran.stdout


def test_a_step_tells_on_a_terminal_which_it_is_and_for_how_long(tmp_path):
    ours, theirs = pty.openpty()
    out = bash('TRIAGE=(a b c); step wait sleep 2.5; say "code $CODE"', tmp_path, theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        pass
    os.close(ours)
    assert "step 1 of 8, 1 s" in shown.decode() and "step 1 of 8, 2 s" in shown.decode()
    assert "step 1 of" not in out and out.endswith("code 0\n")


def test_a_log_gets_no_ticks(tmp_path):
    out = bash('TRIAGE=(a b c); step wait sleep 1.2 2>"$OUT/err"', tmp_path)
    assert (tmp_path / "err").read_text() == "" and "step 1 of" not in out


def test_the_end_names_the_next_commands_and_how_triage_becomes_one(tmp_path):
    dump = tmp_path / "a dump.msgpack"
    out = bash(f"PYTHON=python; finding 1 'it is so' '{dump}'", tmp_path)
    lines = out.splitlines()
    assert lines[1] == "REPRODUCED: it is so"
    assert "`triage`" in lines[3] and lines[3].startswith("next")
    assert any(line.startswith("  triage show ") and "a\\ dump" in line for line in lines)
    assert any(line.startswith("  triage report ") for line in lines)
    assert "next" not in bash("finding 0 'nothing'", tmp_path)
