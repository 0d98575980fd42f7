"""Sanitizers on our kernels: Triton's where there is a GPU, else the same in its interpreter.

FPSan replaces floating arithmetic by exact arithmetic on bit patterns: what is algebraically
equal is then equal to the bit, whatever was fused. So a fused kernel and its chain of
separate kernels are compared to the bit under it. GSan looks for races in global memory,
IISan asserts the alignment of tensor descriptors, of which our kernels have none: under both
a kernel only has to come through.

They came with Triton 3.9, for compiled kernels alone. On a CPU the interpreter does what each of
them is for, with any Triton (`interpreted`, `watched`); every result says which of the two it
was. Compiling under Triton's needs no GPU (`instrumented`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import triton

from triage_kernels.core.errors import NoPayloadError
from triage_kernels.core.interpreter import interpreting
from triage_kernels.core.launch import compiled_tiles
from triage_kernels.core.spec import Args, KernelSpec, as_tuple, copy_args
from triage_kernels.validate.checks.subject import Subject
from triage_kernels.validate.compare import same_bits
from triage_kernels.validate.interpreted import (
    counted_descriptors,
    exact_arithmetic,
    on_payloads,
)
from triage_kernels.validate.payloads import P, Q
from triage_kernels.validate.registry import select
from triage_kernels.validate.results import CRASHES, CheckResult
from triage_kernels.validate.steps import triton_steps
from triage_kernels.validate.watched import watched_memory

SANITIZERS = ("fpsan", "gsan", "iisan")
FIRST_VERSION = (3, 9)
# Ops whose chain divides. Modulo 2^32, Triton's ring, an even number has no inverse, so that
# equal quotients may differ there; in the interpreter's ring they are equal.
DIVIDES = ("gemma4_fused_routing", "gemma_routing_post_topk", "gemma_gelu_tanh_mul")
_DRAWS = 8


def missing() -> str | None:
    """Why the installed Triton has no sanitizers, None where it has."""
    version = tuple(int(part) for part in triton.__version__.split(".")[:2])
    compilation = getattr(getattr(triton, "knobs", None), "compilation", None)
    if version < FIRST_VERSION or not hasattr(compilation, "instrumentation_mode"):
        return (
            f"Triton {triton.__version__} has no sanitizers (3.9 has); "
            "`triage kernels sanitize --device cpu` looks for the same in its interpreter"
        )
    return None


def unavailable(device: str) -> str | None:
    """Why no sanitizer runs here, None where they do."""
    if device == "cpu":
        return None if interpreting() else "Triton is loaded for compiled kernels"
    if reason := missing():
        return reason
    if not torch.cuda.is_available():
        return (
            "no CUDA device; --device cpu looks for the same in Triton's interpreter, "
            "--compile-only compiles"
        )
    return None


@contextmanager
def instrumented(mode: str) -> Iterator[None]:
    """Compile and run kernels under one of Triton's sanitizers."""
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
    for spec in select(ops):
        if spec.fused is None:
            continue
        for mode in modes:
            yield sanitize_one(spec, spec.fused, mode, device)


def sanitize_one(spec: KernelSpec, call: Callable[..., Any], mode: str, device: str) -> CheckResult:
    """One implementation of `spec` under one sanitizer. What it says begins with whose it was."""
    began = time.perf_counter()
    reason = unavailable(device)
    if reason:
        outcome, worst = "CANNOT_RUN", reason
    else:
        subject = Subject(spec, call, device, torch.float32, spec.cases)
        try:
            outcome, worst = (_interpreted if device == "cpu" else _compiled)(subject, mode)
        except CRASHES as error:
            first = (str(error).splitlines() or [""])[0]
            outcome, worst = "FAIL", f"{type(error).__name__}: {first}"
            if without := _no_payload(error):
                outcome, worst = "CANNOT_RUN", str(without)
        where = "interpreter" if device == "cpu" else "compiled"
        worst = f"Triton {triton.__version__}, {where}: {worst}"
    return CheckResult(
        spec.name, "ours", mode, device, "float32", outcome, worst, 1,  # type: ignore[arg-type]
        (worst,) if outcome == "FAIL" else (),
        f"triage kernels sanitize {spec.name} --sanitizer {mode} --device {device}",
        time.perf_counter() - began,
    )  # fmt: skip


def _no_payload(error: BaseException | None) -> NoPayloadError | None:
    """That of the errors behind `error`: the interpreter wraps what a kernel raises."""
    while error is not None and not isinstance(error, NoPayloadError):
        error = error.__cause__ or error.__context__
    return error


def _compiled(subject: Subject, mode: str) -> tuple[str, str]:
    with instrumented(mode):
        if mode != "fpsan":
            _come_through(subject)
            return "PASS", "came through"
        if subject.spec.name in DIVIDES:
            return "SKIP", "its chain divides, and FPSan's ring has no inverse of an even number"
        differing, _ = _difference(subject, exact=False)
    return _verdict(differing, "FPSan's integers modulo 2^32")


def _interpreted(subject: Subject, mode: str) -> tuple[str, str]:
    with compiled_tiles():
        if mode == "fpsan":
            return _verdict(_difference(subject, exact=True)[0], f"integers modulo {P} * {Q}")
        if mode == "gsan":
            return _memory(subject)
        with counted_descriptors() as made:
            _come_through(subject)
    if not made:
        return "SKIP", "no tensor descriptor is made"
    return "PASS", f"{len(made)} tensor descriptors made, all aligned"


def _memory(subject: Subject) -> tuple[str, str]:
    with watched_memory() as memory:
        try:
            _come_through(subject)
        except CRASHES:
            if not memory.findings:
                raise
    if memory.findings:
        return "FAIL", memory.findings[0]
    return "PASS", (
        f"{memory.accesses} addresses of {memory.programs} programs in {memory.launches} "
        "launches: all inside a tensor of the launch, none written by one program and used by "
        "another"
    )


def _come_through(subject: Subject) -> None:
    for case in subject.structural:
        # More rows than any program takes.
        subject.call(**copy_args(subject.make(case, 17)))


def _verdict(differing: str | None, ring: str) -> tuple[str, str]:
    if differing:
        return "FAIL", f"over {ring}: {differing}"
    return "PASS", f"fused and separate kernels equal to the bit, over {ring}"


def _difference(subject: Subject, *, exact: bool) -> tuple[str | None, int]:
    """The first output in which fused and separate kernels differ, and how many were equal.

    Where a quotient has no value in the ring, other numbers are drawn.
    """
    equal = 0
    # Tiles follow the width of rows, so every width is run.
    for case in subject.cases if "N" in subject.cases[0].dims else subject.structural:
        for seed in range(5, 5 + _DRAWS):
            args = subject.make(case, 5, seed=seed)
            if "reads" in args:
                args["reads"] = "unrounded"
            if exact:
                args = on_payloads(args)
            with exact_arithmetic() if exact else nullcontext() as met:
                mine = as_tuple(subject.call(**copy_args(args)))
                theirs = chain(subject.spec, args)
            if met is None or not met.undefined:
                break
        for (name, got), want in zip(subject.named(mine), theirs, strict=True):
            difference = same_bits(got, want)
            if difference.count:
                return f"{case.name}, {name}: {difference.describe()}", equal
            equal += 1
    return None, equal


def chain(spec: KernelSpec, args: Args) -> tuple[Any, ...]:
    """The unfused chain of `spec`, each step of arithmetic a Triton kernel."""
    with triton_steps():
        return as_tuple(spec.unfused(**copy_args(args)))
