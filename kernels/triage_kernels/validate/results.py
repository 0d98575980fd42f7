"""One check of one implementation: what a check result holds, and how one is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from triton.errors import TritonError

from triage_kernels.core.errors import KernelError
from triage_kernels.validate.checks import Check
from triage_kernels.validate.checks.subject import Finding, Subject

Outcome = Literal["PASS", "FAIL", "SKIP", "CANNOT_RUN"]

# What a kernel or its wrapper may throw at us. A crash of one check is its result.
CRASHES = (
    KernelError,
    TritonError,
    RuntimeError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of one implementation in one dtype.

    Attributes:
        worst: the finding that decides, of `findings` made.
        failures: every failing finding, worst first.
        repro: one line that repeats this check.
    """

    op: str
    provider: str
    check: str
    device: str
    dtype: str
    outcome: Outcome
    worst: str
    findings: int
    failures: tuple[str, ...]
    repro: str
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        return self.op, self.provider, self.check, self.device, self.dtype


def _worst(findings: Sequence[Finding]) -> tuple[Outcome, str]:
    if not findings:
        return "SKIP", "nothing to check"
    order = {"FAIL": 2, "PASS": 1, "SKIP": 0}
    worst = max(findings, key=lambda f: (order[f.status], f.severity))
    return worst.status, f"{worst.case}: {worst.detail}"


def run_check(subject: Subject, provider: str, name: str, check: Check) -> CheckResult:
    """Run one check to the end, or to where it crashes."""
    start = time.perf_counter()
    findings: list[Finding] = []
    try:
        for finding in check(subject):
            findings.append(finding)
    except CRASHES as error:
        first = (str(error).splitlines() or [""])[0]
        findings.append(
            Finding("FAIL", "-", f"raises {type(error).__name__}: {first}", float("inf"))
        )
    outcome, worst = _worst(findings)
    failing = sorted((f for f in findings if f.status == "FAIL"), key=lambda f: -f.severity)
    dtype = str(subject.dtype).removeprefix("torch.")
    return CheckResult(
        op=subject.spec.name,
        provider=provider,
        check=name,
        device=subject.device,
        dtype=dtype,
        outcome=outcome,
        worst=worst,
        findings=len(findings),
        failures=tuple(f"{f.case}: {f.detail}" for f in failing),
        repro=repeat_line(subject.spec.name, provider, name, dtype, subject.device),
        seconds=time.perf_counter() - start,
    )


def repeat_line(op: str, provider: str, check: str, dtype: str, device: str) -> str:
    """The command that makes a result again; a function stands where its provider would."""
    what = (
        f"--callable {provider} --like {op}" if ":" in provider else f"{op} --provider {provider}"
    )
    return f"triage kernels validate {what} --check {check} --dtype {dtype} --device {device}"


def died(subject: Subject, provider: str, name: str, why: str) -> CheckResult:
    """The result of a check that ended the process it ran in."""
    dtype = str(subject.dtype).removeprefix("torch.")
    where = "a load or store outside what the call was given"
    return CheckResult(
        op=subject.spec.name,
        provider=provider,
        check=name,
        device=subject.device,
        dtype=dtype,
        outcome="FAIL",
        worst=f"{why}: {where}" if "SIGSEGV" in why or "SIGBUS" in why else why,
        findings=1,
        failures=(why,),
        repro=repeat_line(subject.spec.name, provider, name, dtype, subject.device),
        seconds=0.0,
    )
