"""Runs the comparison with transformers' Gemma-4 modules, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_twins_agree_with_the_gemma4_modules_of_transformers() -> None:
    pytest.importorskip("transformers")
    file = Path(__file__).with_name("transformers_twins.py")
    # Warnings of transformers about itself are not ours to fail on.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"]
    run = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
