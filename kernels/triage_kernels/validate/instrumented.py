"""Compile our kernels under Triton's sanitizers without a GPU, and look at what they put in.

Nothing is run: that a sanitizer finds nothing is only known where there is a GPU (`sanitizers`).
What can be said here is that a sanitizer takes the kernel, and what it did to it: FPSan has to
leave no floating-point arithmetic, GSan calls its runtime, ConSan asserts at shared memory that
is filled ahead, IISan asserts the alignment of tensor descriptors, of which our kernels have none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
import triton

from triage_kernels.core.interpreter import interpreting
from triage_kernels.core.spec import KernelSpec
from triage_kernels.perf.aot import cases, compile_launch, launches
from triage_kernels.validate.registry import select
from triage_kernels.validate.results import CRASHES, CheckResult
from triage_kernels.validate.sanitizers import missing

COMPILED = ("fpsan", "gsan", "iisan", "consan")
ARCH = 90
_ARITHMETIC = re.compile(r"\b(?:add|sub|mul|fma|mad|div|rcp|sqrt|rsqrt|ex2)\.(?:\w+\.)*f(?:16|32)")
_RUNTIME = re.compile(r"\bcall\b.*?gsan|__triton_gsan\w*|\bgsan\w*", re.IGNORECASE)


class NamedDevice:
    """Stands in for Triton's driver, which GSan asks for the shared memory: says an H200's."""

    utils = SimpleNamespace(get_device_properties=lambda device: {"max_shared_mem": 232448})

    def get_current_device(self) -> int:
        return 0


@contextmanager
def _named_device() -> Iterator[None]:
    driver = triton.runtime.driver
    before = driver._active
    driver.set_active(NamedDevice())
    try:
        yield
    finally:
        driver._active = before


def compile_instrumented(
    ops: Sequence[str] = (), modes: Sequence[str] = COMPILED
) -> Iterator[CheckResult]:
    """Each of our kernels compiled for sm_90 under each sanitizer, in fp32; none is run.

    CANNOT_RUN, with the reason, where the installed Triton has no sanitizers or interprets.
    """
    reason = missing()
    if reason is None and interpreting():
        reason = (
            "this process interprets kernels; compiling them takes one without TRITON_INTERPRET"
        )
    for spec in select(ops):
        if spec.fused is None:
            continue
        for mode in modes:
            began = time.perf_counter()
            outcome, worst = ("CANNOT_RUN", reason) if reason else _judge(spec, mode)
            yield CheckResult(
                spec.name, "ours", f"{mode}-compiles", "none", "float32",
                outcome, worst, 1, (worst,) if outcome == "FAIL" else (),  # type: ignore[arg-type]
                f"triage kernels sanitize {spec.name} --compile-only --sanitizer {mode}",
                time.perf_counter() - began,
            )  # fmt: skip


def _judge(spec: KernelSpec, mode: str) -> tuple[str, str]:
    kernels = 0
    before = arithmetic = added = lines = 0
    try:
        for launch in launches(spec, cases(spec)[0].dims, torch.float32):
            plain, text = (_ptx(launch, each) for each in ("", mode))
            kernels += 1
            before += len(_ARITHMETIC.findall(plain))
            arithmetic += len(_ARITHMETIC.findall(text))
            added += _marks(text, mode) - _marks(plain, mode)
            lines += text.count("\n") - plain.count("\n")
    except CRASHES as error:
        return "FAIL", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    text = f"{kernels} compiled for sm_{ARCH}, {lines:+d} lines of PTX, "
    if mode == "fpsan":
        text += f"{arithmetic} of {before} floating-point operations left"
    elif mode == "gsan":
        text += f"{added} mentions of its runtime"
    else:
        text += f"{added} assertions added"
    wrong = (mode == "fpsan" and arithmetic) or (mode == "gsan" and not added)
    return ("FAIL" if wrong else "PASS"), f"{text}; not run"


def _marks(ptx: str, mode: str) -> int:
    return len(_RUNTIME.findall(ptx)) if mode == "gsan" else ptx.count("call.uni __assertfail")


def _ptx(launch: Any, mode: str) -> str:
    with _named_device():
        text: str = compile_launch(launch, ARCH, instrumentation=mode).asm["ptx"]
    return text
