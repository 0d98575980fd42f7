"""Offsets past 32 bits, rows past a grid, ids that are no expert: each is caught by its check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from triage_kernels.core.interpreter import interpreting
from triage_kernels.core.launch import launch
from triage_kernels.validate.checks import ALL
from triage_kernels.validate.checks.subject import Subject
from triage_kernels.validate.defects import DEFECTS
from triage_kernels.validate.mutants import plant
from triage_kernels.validate.registry import OURS, select
from triage_kernels.validate.results import CheckResult, run_check

needs_interpreter = pytest.mark.skipif(
    not interpreting(), reason="a stray access of a compiled mutant would end the process"
)


def held(op: str, check: str, call: Callable[..., Any] | None = None) -> CheckResult:
    (spec,) = select((op,))
    call = call or spec.fused
    assert call is not None
    device = "cpu" if interpreting() else "cuda"
    subject = Subject(spec, call, device, torch.float16, spec.cases[:1])
    return run_check(subject, "ours", check, ALL[check])


@needs_interpreter
@pytest.mark.parametrize(
    ("mutant", "check"),
    [
        ("slots-32-bit", "int32-overflow"),
        ("value-slots-32-bit", "int32-overflow"),
        ("rows-past-65535-dropped", "rows-past-65535"),
        ("minus-one-id-wraps", "illegal-ids"),
    ],
)
def test_a_published_mistake_is_caught_by_the_check_made_for_it(mutant, check, tmp_path) -> None:
    (defect,) = (m for m in DEFECTS if m.name == mutant)
    assert held(defect.op, check).outcome == "PASS"
    found = held(defect.op, check, plant(defect, tmp_path))
    assert found.outcome == "FAIL", found.worst


@pytest.mark.parametrize("spec", [pytest.param(s, id=s.name) for s in OURS])
def test_no_kernel_of_ours_drops_a_row_past_65535(spec) -> None:
    found = held(spec.name, "rows-past-65535")
    assert found.outcome == "PASS", found.worst


@triton.jit
def _add_kernel(
    x_ptr, w_ptr, r_ptr, out_ptr, N: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(1).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * N + cols, mask=cols < N, other=0.0).to(tl.float32)
    inv = tl.rsqrt(tl.sum(x * x, axis=0) * (1.0 / N) + EPS)
    w = tl.load(w_ptr + cols, mask=cols < N, other=0.0).to(tl.float32)
    r = tl.load(r_ptr + row * N + cols, mask=cols < N, other=0.0).to(tl.float32)
    y = x * inv * w + r
    tl.store(out_ptr + row * N + cols, y.to(out_ptr.dtype.element_ty), mask=cols < N)


def rows_in_the_second_dimension(x: Tensor, weight: Tensor, residual: Tensor, eps: float) -> Tensor:
    """A norm whose every row is a program of the grid's second dimension."""
    out = torch.empty_like(x)
    n = x.shape[1]
    block = triton.next_power_of_2(n)
    launch(
        _add_kernel, (1, len(x)), x, weight, residual, out, N=n, EPS=eps, BLOCK=block, num_warps=4
    )
    return out


@needs_interpreter
def test_rows_in_a_dimension_that_takes_65535_are_told_where_no_gpu_refuses_them() -> None:
    # GIVEN a kernel whose values are right
    assert held("gemma_rmsnorm_add", "error-bound", rows_in_the_second_dimension).outcome == "PASS"
    # THEN its grid is what a GPU would refuse
    found = held("gemma_rmsnorm_add", "rows-past-65535", rows_in_the_second_dimension)
    assert found.outcome == "FAIL"
    assert "a grid of (1, 65537, 1); a GPU takes 65535 in the second" in found.worst


def test_every_published_mistake_has_its_report() -> None:
    linked = [m for m in DEFECTS if m.link]
    assert len({m.link for m in linked}) >= 35
    assert all(m.link.startswith("https://github.com/") for m in linked)
