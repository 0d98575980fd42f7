"""Launches that overlap: what is compiled waits before it reads or writes, and is launched so."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from triage_kernels.core import dependent
from triage_kernels.core.alignment import aligned
from triage_kernels.core.dependent import dependent_launches
from triage_kernels.core.interpreter import interpreting
from triage_kernels.core.launch import KernelLaunch, recording
from triage_kernels.core.spec import KernelSpec
from triage_kernels.perf.early import too_early
from triage_kernels.validate.checks import neighbours
from triage_kernels.validate.checks.neighbours import in_one_buffer
from triage_kernels.validate.checks.subject import Subject
from triage_kernels.validate.defects import DEFECTS
from triage_kernels.validate.registry import OURS

needs_interpreter = pytest.mark.skipif(not interpreting(), reason="about the interpreter")
BY_NAME = [pytest.param(spec, id=spec.name) for spec in OURS]
TOO_EARLY = {
    "no-wait": "reads x_ptr before it waits",
    "wait-after-load": "reads r_ptr before it waits",
    "scalar-before-wait": "reads c_ptr before it waits",
    "router-weight-before-wait": "reads w_router_ptr before it waits",
    "values-do-not-wait": "a path ends without waiting",
    "zeroed-before-wait": "writes out_ptr before it waits",
}

# The interpreter has no such launches; its choice is per process.
PROGRAM = """
import json, pathlib, sys, tempfile
from triage_kernels.perf.early import launched_too_early
from triage_kernels.validate.checks import neighbours
from triage_kernels.validate.checks.neighbours import in_one_buffer
from triage_kernels.validate.checks.subject import Subject
from triage_kernels.validate.defects import DEFECTS
from triage_kernels.validate.mutants import plant
from triage_kernels.validate.registry import OURS

found = {spec.name: launched_too_early(spec, spec.cases[0], spec.fused) for spec in OURS}
with tempfile.TemporaryDirectory() as folder:
    for mutant in DEFECTS:
        if mutant.device == "cuda":
            spec = next(spec for spec in OURS if spec.name == mutant.op)
            call = plant(mutant, pathlib.Path(folder))
            found[mutant.name] = launched_too_early(spec, spec.cases[0], call)
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def compiled() -> dict[str, list[str]]:
    """Op or mutant -> what its kernel, compiled for sm_90, does too early."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "HOME": "/tmp"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def launches_of(spec: KernelSpec, **changed: Any) -> list[KernelLaunch]:
    generator = torch.Generator().manual_seed(0)
    args = spec.make(spec.cases[0].dims, 16, torch.bfloat16, generator)
    assert spec.fused is not None
    with recording() as launches:
        spec.fused(**{**args, **changed})
    return launches


@pytest.mark.parametrize("spec", BY_NAME)
def test_a_compiled_kernel_waits_before_it_touches_what_others_write(
    spec: KernelSpec, compiled: dict[str, list[str]]
) -> None:
    assert compiled[spec.name] == []


def test_every_planted_defect_of_the_wait_is_seen_in_what_is_compiled(
    compiled: dict[str, list[str]],
) -> None:
    assert {m.name for m in DEFECTS if m.device == "cuda"} == set(TOO_EARLY)
    for name, complaint in TOO_EARLY.items():
        assert complaint in compiled[name], name


def test_a_wait_on_one_way_alone_is_none() -> None:
    # GIVEN a kernel in which one of two ways to the load waits
    ptx = """
.entry k(.param .u64 k_param_0) {
    ld.param.b64 %rd1, [k_param_0];
    add.s64 %rd2, %rd1, 16;
    @%p1 bra $L__1;
    griddepcontrol.wait;
$L__1:
    ld.global.b32 { %r1 }, [ %rd2 + 0 ];
    ret;
}"""
    # THEN the load is too early, whatever register its address went through
    assert "reads x_ptr before it waits" in too_early(ptx, ["x_ptr"], [])
    assert "a path ends without waiting" in too_early(ptx, ["x_ptr"], ["x_ptr"])
    # AND it is not where both wait
    both = ptx.replace("@%p1 bra $L__1;\n", "")
    assert too_early(both, ["x_ptr"], []) == []


@pytest.mark.parametrize("spec", BY_NAME)
def test_launches_are_plain_until_they_are_asked_to_overlap(spec: KernelSpec) -> None:
    assert not any(launch.launch_pdl for launch in launches_of(spec))
    with dependent_launches():
        overlapping = launches_of(spec)
    assert all(launch.launch_pdl and launch.constants["PDL"] for launch in overlapping)
    assert not any(launch.constants["PDL"] for launch in launches_of(spec))


def test_a_launch_that_has_just_copied_a_weight_is_a_plain_one() -> None:
    # GIVEN a weight that is not aligned, so that a copy is made in front of the launch
    spec = next(spec for spec in OURS if spec.name == "gemma_rmsnorm_add")
    whole = torch.ones(spec.cases[0].dims["N"] + 1, dtype=torch.bfloat16)
    assert aligned(whole[1:]) is not whole[1:]
    with dependent_launches():
        [plain] = launches_of(spec, weight=whole[1:])
        [overlapping] = launches_of(spec, weight=whole[:-1])
    assert (plain.launch_pdl, overlapping.launch_pdl) == (False, True)


@pytest.mark.parametrize("spec", BY_NAME)
def test_a_late_writer_gets_all_that_may_not_be_read_early(spec: KernelSpec) -> None:
    # GIVEN a call whose views overlap as the model's do
    args = spec.make(spec.cases[0].dims, 5, torch.float16, torch.Generator().manual_seed(0))
    given, buffer = in_one_buffer(args, spec.early)
    # THEN values and layouts are the same, in one buffer or where they were
    for name, value in args.items():
        if isinstance(value, torch.Tensor):
            moved = given[name]
            assert torch.equal(moved, value) and moved.stride() == value.stride(), name
            inside = moved.untyped_storage().data_ptr() == buffer.data_ptr()
            assert inside == (name not in spec.early), name
            assert not moved.data_ptr() % 16, f"{name} would be copied, and the launch be plain"
    assert set(spec.rows) & {name for name in args if name not in spec.early}


class StandInGraph:
    """A graph whose capture has run the call: replaying it does what a late copy left undone."""

    def replay(self) -> None:
        pass


@needs_interpreter
@pytest.mark.parametrize("late", [False, True], ids=["it waited", "it did not wait"])
def test_the_check_of_a_late_neighbour_tells_a_call_that_did_not_wait(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream is stood in for: a late copy is made at the next synchronisation."""
    # GIVEN a neighbour whose copy is made before the call, or only after it
    waiting: list[Any] = []

    def late_copy(source: torch.Tensor, target: torch.Tensor, delay_ns: int) -> None:
        waiting.append((source, target))
        if not late:
            synchronize()

    def synchronize() -> None:
        while waiting:
            source, target = waiting.pop()
            target.copy_(source)

    monkeypatch.setattr(neighbours, "late_copy", late_copy)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", StandInGraph)
    monkeypatch.setattr(torch.cuda, "graph", nullcontext)
    spec = next(spec for spec in OURS if spec.name == "gemma_rmsnorm_residual_scalar")
    assert spec.fused is not None
    subject = Subject(spec, spec.fused, "cpu", torch.float16, spec.cases[:1])
    args = subject.make(spec.cases[0], 2)
    # WHEN what it reads, and what it writes, is the neighbour's to write or to read
    reads = {f.case: f.status for f in neighbours._reads(subject, "-", args)}
    writes = {f.case: f.status for f in neighbours._writes(subject, "-", args)}
    # THEN both tell
    expected = "FAIL" if late else "PASS"
    assert reads["-, on a stream, out"] == writes["-, on a stream"] == expected


@needs_interpreter
def test_the_interpreter_has_the_plain_launch_and_its_numbers() -> None:
    assert dependent.why_not() == "kernels are interpreted"
    spec = next(spec for spec in OURS if spec.name == "gemma_gelu_tanh_mul")
    args = spec.make(spec.cases[0].dims, 3, torch.float32, torch.Generator().manual_seed(0))
    assert spec.fused is not None
    want = spec.fused(**args)
    with dependent_launches():
        assert torch.equal(spec.fused(**args), want)
