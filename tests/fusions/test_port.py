"""The tutorial of docs/fusions.md, followed: a skeleton is listed, fails, is written, passes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from triage.cli import main
from triage.fusions.catalogue import PATTERNS
from triage.fusions.port import PortError, port, skeleton

TUTORIAL = Path(__file__).parents[2] / "docs/fusions.md"
ONLY = ("--dtype", "float16", "--variant", "E2B")
CHECKS = ("error-bound", "eager-twin", "stride-invariance", "sentinel-guards", "refuses-misuse")


def triage(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "triage", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def validated(file: Path) -> subprocess.CompletedProcess[str]:
    wanted = [part for check in CHECKS for part in ("--check", check)]
    return triage("kernels", "validate", "--also", file, *ONLY, *wanted)


def test_a_ported_pattern_is_listed_and_fails_until_its_kernel_is_written(tmp_path: Path) -> None:
    # GIVEN the skeleton that the tutorial has written
    file = tmp_path / "norm_add_norm.py"
    asked = ["fusions", "port", "norm-add-norm", "--into", str(file)]
    assert CliRunner().invoke(main, asked).exit_code == 0
    # THEN it is a kernel of the registry, and fails
    listed = triage("kernels", "list", "--also", file)
    assert listed.returncode == 0 and "norm_add_norm" in listed.stdout, listed.stderr
    failing = validated(file)
    assert failing.returncode == 1 and "elements never written" in failing.stdout, failing.stderr
    # WHEN the tutorial's kernel takes the place of the empty one
    written = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)[0]
    text = file.read_text()
    empty = text[text.index("@triton.jit") : text.index("def norm_add_norm(")]
    file.write_text(text.replace(empty, written + "\n\n"))
    # THEN every check passes
    passing = validated(file)
    assert passing.returncode == 0, passing.stdout + passing.stderr


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if p.ours], ids=lambda p: p.name)
def test_a_pattern_that_we_have_starts_from_our_references(pattern, tmp_path: Path) -> None:
    from triage_kernels.validate.registry import load, select

    spec = load(port(pattern.name, "mine", tmp_path / "mine.py"))
    (ours,) = select((pattern.ours,))
    assert (spec.name, spec.oracle, spec.cases) == ("mine", ours.oracle, ours.cases)
    with pytest.raises(NotImplementedError, match="not written"):
        spec.fused()


@pytest.mark.parametrize("pattern", ["other", "norm-sum", "mlp-activation"])
def test_what_has_no_references_is_refused(pattern: str) -> None:
    (found,) = (p for p in PATTERNS if p.name == pattern)
    with pytest.raises(PortError, match="no references"):
        skeleton(found, "x")


def test_a_file_that_is_there_is_left(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("mine")
    with pytest.raises(PortError, match="exists"):
        port("norm-add-norm", None, file)
    assert file.read_text() == "mine"


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="no name of a function"):
        port("norm-add-norm", "1 + 1", tmp_path / "x.py")
