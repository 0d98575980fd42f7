"""Triton's sanitizers on our kernels, where the installed Triton has them and a GPU runs them.

FPSan replaces floating arithmetic by exact arithmetic on bit patterns: what is algebraically
equal is then equal to the bit, whatever was fused. So a fused kernel and its chain of
separate kernels are compared to the bit under it. GSan watches accesses to global memory,
IISan asserts the alignment of tensor descriptors, of which our kernels have none: under both
a kernel only has to come through. They came with Triton 3.9. Without a GPU they can be
compiled and not run (`instrumented`). With an older Triton nothing of it runs: the checks of
`triage kernels validate` (fences, children, 32-bit offsets) are what there is, and it is said.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import triton

from triage_kernels.core.spec import Args, KernelSpec, as_tuple, copy_args
from triage_kernels.validate.checks.subject import Subject
from triage_kernels.validate.compare import same_bits
from triage_kernels.validate.registry import select
from triage_kernels.validate.results import CRASHES, CheckResult
from triage_kernels.validate.steps import triton_steps

SANITIZERS = ("fpsan", "gsan", "iisan")
FIRST_VERSION = (3, 9)
# Ops whose unfused chain is norms, additions and multiplications, read unrounded.
CHAINS = (
    "gemma_rmsnorm_residual_scalar",
    "gemma_rmsnorm_add",
    "gemma_dual_rmsnorm_residual_scalar",
    "gemma_layer_tail_next_norm",
    "gemma_moe_layer_tail_next_norm",
)


def missing() -> str | None:
    """Why the installed Triton has no sanitizers, None where it has."""
    version = tuple(int(part) for part in triton.__version__.split(".")[:2])
    compilation = getattr(getattr(triton, "knobs", None), "compilation", None)
    if version < FIRST_VERSION or not hasattr(compilation, "instrumentation_mode"):
        return (
            f"Triton {triton.__version__} has no sanitizers (3.9 has); the interpreter's checks "
            "are those of `triage kernels validate`"
        )
    return None


def unavailable(device: str) -> str | None:
    """Why no sanitizer runs here, None where they do."""
    reason = missing()
    if reason:
        return reason
    if device != "cuda" or not torch.cuda.is_available():
        return (
            "sanitizers instrument compiled kernels: running them needs a CUDA device "
            "(--compile-only needs none)"
        )
    return None


@contextmanager
def instrumented(mode: str) -> Iterator[None]:
    """Compile and run kernels under one sanitizer."""
    compilation = triton.knobs.compilation
    before = compilation.instrumentation_mode
    compilation.instrumentation_mode = mode
    try:
        if mode == "gsan":
            from triton.experimental.gsan._allocator import create_mem_pool

            with torch.cuda.use_mem_pool(create_mem_pool()):
                yield
        else:
            yield
        torch.cuda.synchronize()
    finally:
        compilation.instrumentation_mode = before


def sanitize(
    ops: Sequence[str] = (), device: str = "cuda", modes: Sequence[str] = SANITIZERS
) -> Iterator[CheckResult]:
    """Each of our kernels under each sanitizer; CANNOT_RUN with the reason where there is none."""
    reason = unavailable(device)
    for spec in select(ops):
        if spec.fused is None:
            continue
        for mode in modes:
            began = time.perf_counter()
            outcome, worst = ("CANNOT_RUN", reason) if reason else _judge(spec, mode, device)
            yield CheckResult(
                spec.name, "ours", mode, device, "float32", outcome, worst, 1,  # type: ignore[arg-type]
                (worst,) if outcome == "FAIL" else (),
                f"triage kernels sanitize {spec.name} --sanitizer {mode}",
                time.perf_counter() - began,
            )  # fmt: skip


def _judge(spec: KernelSpec, mode: str, device: str) -> tuple[str, str]:
    assert spec.fused is not None
    subject = Subject(spec, spec.fused, device, torch.float32, spec.cases)
    try:
        with instrumented(mode):
            if mode == "fpsan":
                return fused_against_chain(subject)
            for case in subject.structural:
                subject.call(**copy_args(subject.make(case, 5)))
    except CRASHES as error:
        first = (str(error).splitlines() or [""])[0]
        return "FAIL", f"{type(error).__name__}: {first}"
    return "PASS", "came through"


def fused_against_chain(subject: Subject) -> tuple[str, str]:
    """Fused and separate kernels to the bit; only meaningful under FPSan."""
    spec = subject.spec
    if spec.name not in CHAINS:
        return "SKIP", "its chain is not norms, additions and multiplications alone"
    for case in subject.structural:
        args = subject.make(case, 5)
        if "reads" in args:
            args["reads"] = "unrounded"
        for (name, mine), theirs in zip(
            subject.named(as_tuple(subject.call(**copy_args(args)))), chain(spec, args), strict=True
        ):
            difference = same_bits(mine, theirs)
            if difference.count:
                return "FAIL", f"{case.name}, {name}: {difference.describe()}"
    return "PASS", "fused and separate kernels equal to the bit"


def chain(spec: KernelSpec, args: Args) -> tuple[Any, ...]:
    """The unfused chain of `spec`, each step a Triton kernel."""
    with triton_steps():
        return as_tuple(spec.unfused(**copy_args(args)))
