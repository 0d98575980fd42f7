"""A kernel that stores where it should not fails its check, and nobody else."""

from __future__ import annotations

import ctypes
import os
import time

import pytest
import torch
from triage_kernels.core.errors import StrayWriteError
from triage_kernels.ops.rmsnorm_add import SPEC, gemma_rmsnorm_add
from triage_kernels.validate import children
from triage_kernels.validate.checks.subject import Subject
from triage_kernels.validate.children import Job, in_children
from triage_kernels.validate.results import CheckResult
from triage_kernels.validate.runner import Request, validate

pytestmark = [
    pytest.mark.skipif(not children.available(), reason="this system does not fork"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA does not survive a fork"),
]
CASE = SPEC.cases[0]


def results(call, *checks: str) -> dict[str, CheckResult]:
    request = Request(
        ops=(SPEC.name,),
        variants=(CASE.variant,),
        providers=("planted",),
        dtypes=("float16",),
        checks=checks,
        call=("planted", call),
    )
    return {r.check: r for r in validate(request)}


def subject(call) -> Subject:
    return Subject(SPEC, call, "cpu", torch.float16, (CASE,))


def test_a_wild_store_fails_its_check_and_the_next_ones_still_run() -> None:
    # GIVEN a kernel that faults where rows are strided, as one with another's stride does
    def wild(x, weight, residual, eps):
        if x.stride(0) != x.shape[1]:
            ctypes.memset(16, 0, 1)
        return gemma_rmsnorm_add(x, weight, residual, eps)

    # WHEN it is validated
    found = results(wild, "error-bound", "stride-invariance", "aliasing")
    # THEN that check fails and says what the process died of; those beside it have run
    assert {name: r.outcome for name, r in found.items()} == {
        "error-bound": "PASS",
        "stride-invariance": "FAIL",
        "aliasing": "PASS",
    }
    assert "died of SIGSEGV" in found["stride-invariance"].worst
    assert "outside what the call was given" in found["stride-invariance"].worst


@pytest.mark.parametrize("where", ["after an argument", "before one", "after an allocation"])
def test_a_store_beside_a_tensor_is_seen_in_any_run(where: str) -> None:
    # GIVEN a kernel with the right answer that also writes a few bytes beside a tensor
    def stray(x, weight, residual, eps):
        out = gemma_rmsnorm_add(x, weight, residual, eps)
        beside = {
            "after an argument": residual.data_ptr() + residual.nbytes,
            "before one": weight.data_ptr() - 2,
            "after an allocation": out.data_ptr() + out.nbytes,
        }
        ctypes.memset(beside[where], 0, 2)
        return out

    # THEN an ordinary run raises, and the right kernel's does not
    args = subject(stray).make(CASE, 4)
    with pytest.raises(StrayWriteError, match="written"):
        subject(stray).run(args)
    subject(gemma_rmsnorm_add).run(args)


def _died(step: str, why: str) -> str:
    return f"{step}: {why}"


def test_steps_come_in_order_and_a_death_costs_only_its_step() -> None:
    def run(step: str) -> str:
        if step == "b":
            os._exit(7)
        return step

    assert list(in_children([Job(("a", "b", "c"), run, _died)], 1)) == [
        "a",
        "b: the process ended with 7",
        "c",
    ]


def test_a_step_that_does_not_end_is_ended() -> None:
    def run(step: str) -> str:
        if step == "b":
            time.sleep(60)
        return step

    jobs = [Job(("a", "b", "c"), run, _died)]
    assert list(in_children(jobs, 1, step_seconds=1.0))[1:] == [
        "b: the process did not end within 1 s",
        "c",
    ]


def test_all_steps_of_all_jobs_are_made_by_as_many_workers_as_are_asked_for() -> None:
    jobs = [Job((f"{n}",), lambda step: f"{step} in {os.getpid()}", _died) for n in range(5)]
    made = list(in_children(jobs, 2))
    assert sorted(line.split()[0] for line in made) == [str(n) for n in range(5)]
    assert str(os.getpid()) not in {line.split()[-1] for line in made}
