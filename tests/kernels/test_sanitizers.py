"""Whose sanitizer it was is said; the chain that one compares with is the chain."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import triton
from click.testing import CliRunner
from triage_kernels.core.errors import KernelError
from triage_kernels.core.spec import as_tuple
from triage_kernels.validate import sanitizers
from triage_kernels.validate.instrumented import compile_instrumented
from triage_kernels.validate.registry import OURS, select
from triage_kernels.validate.sanitizers import chain, sanitize, unavailable
from triage_kernels.validate.steps import triton_steps

from triage.commands.kernels_group import kernels


@pytest.mark.skipif(unavailable("cuda") is None, reason="sanitizers run here")
def test_without_a_sanitizer_a_gpu_cannot_run_it_and_the_interpreter_is_named(monkeypatch) -> None:
    monkeypatch.setattr(sanitizers.triton, "__version__", "3.7.1")
    found = list(sanitize(("gemma_rmsnorm_add",)))
    assert "--device cpu" in found[0].worst
    assert [r.outcome for r in found] == ["CANNOT_RUN"] * 3
    assert {r.check for r in found} == {"fpsan", "gsan", "iisan"}
    assert "Triton 3.7.1 has no sanitizers (3.9 has)" in found[0].worst


@pytest.mark.parametrize("spec", [pytest.param(s, id=s.name) for s in OURS])
def test_the_chain_of_separate_kernels_computes_what_the_chain_of_torch_does(spec, device) -> None:
    # GIVEN the arguments of an op in fp32, its second stage reading what was computed
    args = spec.make(spec.cases[0].dims, 3, torch.float32, torch.Generator().manual_seed(0))
    args = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in args.items()}
    # THEN each step as a kernel of its own gives torch's result to a few roundings
    for mine, want in zip(chain(spec, args), as_tuple(spec.unfused(**args)), strict=True):
        torch.testing.assert_close(mine, want, rtol=2e-5, atol=1e-5)


def test_the_steps_are_kernels_and_not_torch(device) -> None:
    # GIVEN that launches are only written down
    from triage_kernels.core.launch import recording

    (spec,) = select(("gemma_rmsnorm_residual_scalar",))
    args = spec.make({"N": 64}, 2, torch.float32, torch.Generator().manual_seed(0))
    with recording() as launches:
        chain(spec, args)
    # THEN norm, addition and multiplication are three
    assert len(launches) == 3


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: x.mean(0), "a mean over dimension 0; allowed: the last, which is kept"),
        (lambda x: torch.softmax(x, 0), "a softmax over dimension 0; allowed: the last"),
        (lambda x: x - 1.0, "a difference with a number; allowed: of tensors"),
        (torch.nn.functional.gelu, "a gelu with approximate='none'; allowed: 'tanh'"),
    ],
)
def test_a_step_that_no_kernel_here_makes_is_refused(call, says) -> None:
    with triton_steps(), pytest.raises(KernelError, match=re.escape(says)):
        call(torch.ones(2, 3))


# -- Triton 3.9, without a GPU -------------------------------------------------------------------


@pytest.mark.skipif(
    bool(sanitizers.missing()),
    reason=f"Triton {triton.__version__} has no sanitizers; `pip install --no-deps --target DIR "
    "triton==3.9.*`, then PYTHONPATH=DIR in front",
)
def test_a_kernel_compiles_under_each_sanitizer_and_is_changed_by_it() -> None:
    # GIVEN a Triton with sanitizers and no GPU, in a process that does not interpret
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    options = ["sanitize", "gemma_rmsnorm_add", "--compile-only", "--json"]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "triage", "kernels", *options],
        capture_output=True, text=True, check=False, env=env,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    said = {r["check"]: r["worst"] for r in json.loads(run.stdout)["results"]}
    # THEN no floating-point arithmetic is left under FPSan, of some before
    assert re.search(r" 0 of [1-9]\d* floating-point operations left", said["fpsan-compiles"])
    # AND the others put in what they are for; IISan has nothing to assert here
    assert re.search(r" [1-9]\d* mentions of its runtime", said["gsan-compiles"])
    assert re.search(r" [1-9]\d* assertions added", said["consan-compiles"])
    assert " 0 assertions added" in said["iisan-compiles"]
    # AND nobody reads that it ran
    assert all(text.endswith("not run") for text in said.values())


def test_what_was_not_compiled_says_why() -> None:
    found = list(compile_instrumented(("gemma_rmsnorm_add",)))
    assert [r.outcome for r in found] == ["CANNOT_RUN"] * 4
    assert "has no sanitizers" in found[0].worst or "interprets kernels" in found[0].worst


def test_consan_is_compiled_or_refused() -> None:
    run = CliRunner().invoke(kernels, ["sanitize", "--sanitizer", "consan"])
    assert run.exit_code == 2 and "add --compile-only" in run.output
