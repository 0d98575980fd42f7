"""The recipes of docs/extending.md but for the first, each followed with something made up."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tests import dumps_fixture as dumps
from triage.dump.file import write_dump
from triage.lab.bootstrap import SUPPORTED

ROOT = Path(__file__).resolve().parents[2]


def test_the_two_lists_of_releases_that_the_recipe_names_agree():
    lab = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["triage"]["lab"]
    installed = [name.partition("==")[2] for name in lab["no_deps"] if name.startswith("sglang==")]
    assert sorted([*installed, *lab["sglang_versions"]]) == sorted(SUPPORTED)


REPLAY_KERNEL = """
from triage.replay.verdict import Basis, Outcome, Verdict

def run(dump, fix):
    reasons = (f"{dump.launch.num_pages} pages looked at",)
    return Verdict("counting", Outcome.REPRODUCED, Basis.EXECUTED, reasons)
"""


def test_a_replay_kernel_is_a_module_and_a_line(tmp_path):
    # GIVEN a module with `run`, and the line in KERNELS
    (tmp_path / "counting_kernel.py").write_text(REPLAY_KERNEL)
    (tmp_path / "sitecustomize.py").write_text(
        "from triage.replay.kernels import KERNELS, Kernel\n"
        "from triage.replay.verdict import Basis\n"
        "KERNELS['counting'] = Kernel('counting_kernel:run', Basis.EXECUTED)\n"
    )
    dump = write_dump(dumps.make_dump(dumps.SMALL), tmp_path, name="small.msgpack")
    # WHEN it is asked for by name
    ran = triage(tmp_path, "replay", str(dump), "--kernel", "counting")
    # THEN it ran in a process of its own, and its verdict stands with the others
    assert "counting   REPRODUCED  (basis: executed" in ran.stdout, ran.stdout + ran.stderr
    assert "pages looked at" in ran.stdout
    assert "trtllm-gen" in ran.stdout
    assert ran.returncode == 1
    # AND an unknown name lists it among the known
    assert "counting" in triage(tmp_path, "replay", str(dump), "--kernel", "warp").stderr


FUSED_KERNEL = """
import os
os.environ["TRITON_INTERPRET"] = "1"
from dataclasses import replace
from triage_kernels.ops import gelu_tanh_mul
from triage_kernels.validate import registry, runner

SPEC = replace(gelu_tanh_mul.SPEC, name="made_up")
WRONG = replace(SPEC, name="made_up_wrong", fused=lambda **args: SPEC.fused(**args) * 1.01)
registry.KERNELS = (*registry.KERNELS, SPEC, WRONG)
registry.OURS = (*registry.OURS, SPEC, WRONG)
request = runner.Request(
    ops=("made_up", "made_up_wrong"), device="cpu", dtypes=("float32",), checks=("error-bound",)
)
print(sorted({(r.op, r.outcome) for r in runner.validate(request)}))
"""


def test_a_fused_kernel_is_a_file_with_its_spec_and_a_line_in_the_registry():
    """The validator loops over the registry: the new op is judged, and a wrong one fails."""
    ran = subprocess.run(
        [sys.executable, "-c", FUSED_KERNEL], capture_output=True, text=True, timeout=300
    )
    assert ran.stdout == "[('made_up', 'PASS'), ('made_up_wrong', 'FAIL')]\n", ran.stderr[-2000:]


def triage(first: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(first), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-m", "triage", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
