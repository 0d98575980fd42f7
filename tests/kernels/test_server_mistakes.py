"""Kernel mistakes in a server's fused ops: planted, switched, counted; found by the validator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from triage.errors import LabError
from triage.lab.blind import kernels
from triage.lab.server import kernel_mistakes
from triage.lab.server.kernel_mistakes import MISTAKES, Mistaken
from triage.lab.server.late import Moments, Step


@pytest.fixture
def ops(monkeypatch):
    """The modules of the ops, as they are before and after."""
    import importlib

    for mistake in MISTAKES.values():
        module = importlib.import_module(f"triage_kernels.ops.{mistake.mutant.module}")
        monkeypatch.setattr(module, mistake.mutant.op, getattr(module, mistake.mutant.op))
    return lambda name: importlib.import_module(
        f"triage_kernels.ops.{MISTAKES[name].mutant.module}"
    )


def bound(name: str, tmp_path: Path) -> Mistaken:
    mine = Mistaken(name, tmp_path / "source", tmp_path / "control", tmp_path / "calls.jsonl")
    mine.bind(Moments())
    return mine


def test_a_large_gate_is_nan_from_the_moment_the_mistake_begins(ops, tmp_path):
    # GIVEN a gate that overflows, and the launcher as a fused layer takes it
    module, gate = ops("gelu-overflows"), torch.tensor([[12.0, 1.0, -0.5, 60.0]])
    mine = bound("gelu-overflows", tmp_path)
    right = module.gemma_gelu_tanh_mul(gate, torch.ones_like(gate))
    assert not right.isnan().any() and kernel_mistakes.read(mine.lines.path)["calls"] == 0
    # WHEN the control file appears
    (tmp_path / "control").touch()
    mine.begin(Step(1, []))
    wrong = module.gemma_gelu_tanh_mul(gate, torch.ones_like(gate))
    # THEN it computes wrongly, and what is unlike is counted
    assert wrong.isnan().any()
    seen = kernel_mistakes.read(mine.lines.path)
    assert seen["calls"] == 1 and seen["nan"] == int(wrong.isnan().sum())


def test_packed_rows_cannot_show_a_stride_of_the_other_tensor(ops, tmp_path):
    module = ops("residual-stride")
    mine = bound("residual-stride", tmp_path)
    mine.on = True
    x, weight, scalar = torch.randn(3, 16), torch.ones(16), torch.ones(1)
    wide = torch.randn(3, 32)
    module.gemma_rmsnorm_residual_scalar(x, weight, wide[:, :16].contiguous(), scalar)
    assert kernel_mistakes.read(mine.lines.path)["unlike"] == 0
    module.gemma_rmsnorm_residual_scalar(x, weight, wide[:, :16], scalar)
    assert kernel_mistakes.read(mine.lines.path)["unlike"] > 0


@pytest.mark.parametrize("name", MISTAKES)
def test_the_validator_gets_the_mistake_and_the_kernel_without_it(name, tmp_path, monkeypatch):
    asked = []

    def validated(folder, module, about, device, seconds):
        asked.append((module, about["callable"], device, seconds))
        wrong = (folder / f"{module}.py").read_text() != (folder / "correct.py").read_text()
        check = {"check": "c", "dtype": "float32", "worst": "w", "failures": ["f"]}
        return {"counts": {}, "results": [{**check, "outcome": "FAIL" if wrong else "PASS"}]}

    monkeypatch.setattr(kernels, "_validated", validated)
    kernel_mistakes.write_folder(name, tmp_path)
    (row,) = kernels.play(tmp_path, device="cuda", seconds=5.0)
    assert row["result"] == "caught" and row["false_alarm"] == ""
    op = MISTAKES[name].mutant.op
    assert asked == [("correct", op, "cuda", 5.0), ("kernel", op, "cuda", 5.0)]


def test_an_unknown_mistake_is_refused_with_the_known_ones():
    with pytest.raises(LabError, match="residual-stride"):
        kernel_mistakes.find("residual-strid")
