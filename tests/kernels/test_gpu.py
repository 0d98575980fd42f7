"""What only a GPU can show: bf16 rounding, compiled kernels, graph capture, fp64 under Inductor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from triage_kernels.core.dependent import why_not
from triage_kernels.core.spec import KernelSpec, as_tuple, copy_args, to_device
from triage_kernels.validate.defects import DEFECTS, Mutant
from triage_kernels.validate.mutants import detect
from triage_kernels.validate.registry import OURS
from triage_kernels.validate.runner import Request, validate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
BY_NAME = [pytest.param(spec, id=spec.name) for spec in OURS]


def make(spec: KernelSpec, rows: int) -> dict:
    generator = torch.Generator().manual_seed(0)
    return to_device(spec.make(spec.cases[0].dims, rows, torch.bfloat16, generator), "cuda")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("spec", BY_NAME)
def test_every_check_passes_compiled(spec: KernelSpec, dtype: str) -> None:
    request = Request(ops=(spec.name,), device="cuda", dtypes=(dtype,))
    failing = [r for r in validate(request) if r.outcome == "FAIL"]
    assert not failing, "\n".join(f"{r.check}: {r.worst}" for r in failing)


@pytest.mark.parametrize("spec", BY_NAME)
def test_a_captured_launch_sees_what_its_inputs_hold_at_replay(spec: KernelSpec) -> None:
    # GIVEN a launch captured on one set of values
    assert spec.fused is not None
    args = make(spec, 4)
    spec.fused(**copy_args(args))
    held = copy_args(args)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = as_tuple(spec.fused(**held))
    # WHEN the inputs change before the replay
    fresh = copy_args(args)
    for name in spec.rows:
        if held[name] is not None and held[name].is_floating_point():
            fresh[name].mul_(0.5)
            held[name].copy_(fresh[name])
    graph.replay()
    torch.cuda.synchronize()
    # THEN the result is that of an eager call on the new values
    want = as_tuple(spec.fused(**fresh))
    for got, expected in zip(captured, want, strict=True):
        assert torch.equal(got.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("spec", BY_NAME)
def test_the_compiled_kernel_does_no_fp64(spec: KernelSpec) -> None:
    from triage_kernels.perf.aot import compile_launch, launches

    major, minor = torch.cuda.get_device_capability()
    for launch in launches(spec, spec.cases[0].dims, torch.bfloat16):
        kernel = compile_launch(launch, major * 10 + minor)
        assert ".f64" not in kernel.asm["ptx"]


@pytest.mark.parametrize(
    "mutant", [pytest.param(m, id=m.name) for m in DEFECTS if m.device == "cuda"]
)
def test_a_kernel_that_is_too_early_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    assert not why_not(), why_not()
    assert detect(mutant, tmp_path, "cuda").caught_by, mutant.what


def test_a_bench_shape_gives_a_time_for_ours_and_for_the_copy() -> None:
    from triage_kernels.perf.bench import BenchPlan, bench

    plan = BenchPlan(
        ops=("gemma_rmsnorm_add",), rows=(1024, 1), contenders=("ours", "copy", "empty")
    )
    measured = {(m.rows, m.contender): m for m in bench(plan)}
    assert measured[1024, "ours"].of_copy is not None
    assert measured[1, "ours"].over_empty is not None
