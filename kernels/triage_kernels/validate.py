"""Run the checks over kernels, providers and dtypes, one result at a time.

A result is made whether the kernel passes, fails, raises or cannot run, and is handed
on at once, so a run that is cut short keeps what it has.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from triton.errors import TritonError

from triage_kernels.checks import ALL, Check
from triage_kernels.checks.subject import Finding, Subject
from triage_kernels.errors import KernelError, UnknownNameError
from triage_kernels.isolated import in_a_process
from triage_kernels.models import VARIANTS
from triage_kernels.providers import Unavailable, resolve
from triage_kernels.registry import select
from triage_kernels.spec import KernelSpec

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

# Checks in which a foreign kernel may read or write outside what we mapped for it.
MAY_FAULT = frozenset({"int32-overflow"})

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# The interpreter truncates when it casts to bf16, so bf16 is for a GPU only.
DEFAULT_DTYPES = {"cpu": ("float16", "float32"), "cuda": ("bfloat16", "float16", "float32")}


@dataclass(frozen=True, slots=True)
class Request:
    """What to validate; empty means everything there is."""

    ops: tuple[str, ...] = ()
    providers: tuple[str, ...] = ("ours",)
    variants: tuple[str, ...] = ()
    device: str = "cpu"
    dtypes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


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


def _check_names(request: Request) -> dict[str, Check]:
    for name in request.checks:
        if name not in ALL:
            raise UnknownNameError(f"no check {name!r}; there are: {', '.join(ALL)}")
    return {n: c for n, c in ALL.items() if not request.checks or n in request.checks}


def _check_variants(request: Request) -> None:
    known = [v.name for v in VARIANTS]
    for name in request.variants:
        if name not in known:
            raise UnknownNameError(f"no variant {name!r}; there are: {', '.join(known)}")


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
        repro=_repro(subject.spec.name, provider, name, dtype, subject.device),
        seconds=time.perf_counter() - start,
    )


def _isolated(subject: Subject, provider: str, name: str) -> CheckResult:
    """Run one check in a process of its own; its death is the result."""
    start = time.perf_counter()
    dtype = str(subject.dtype).removeprefix("torch.")
    names = tuple(c.name for c in subject.cases)
    record = in_a_process(subject.spec.name, provider, name, dtype, subject.device, names)
    if not isinstance(record, str):
        return CheckResult(**{**record, "failures": tuple(record["failures"])})
    return CheckResult(
        op=subject.spec.name,
        provider=provider,
        check=name,
        device=subject.device,
        dtype=dtype,
        outcome="FAIL",
        worst=record,
        findings=1,
        failures=(record,),
        repro=_repro(subject.spec.name, provider, name, dtype, subject.device),
        seconds=time.perf_counter() - start,
    )


def _repro(op: str, provider: str, check: str, dtype: str, device: str) -> str:
    return (
        f"triage kernels validate {op} --provider {provider} "
        f"--check {check} --dtype {dtype} --device {device}"
    )


def _cannot_run(spec: KernelSpec, provider: str, device: str, reason: str) -> CheckResult:
    repro = f"triage kernels validate {spec.name} --provider {provider} --device {device}"
    return CheckResult(
        spec.name, provider, "-", device, "-", "CANNOT_RUN", reason, 0, (), repro, 0.0
    )


def validate(
    request: Request, *, done: frozenset[tuple[str, ...]] = frozenset()
) -> Iterator[CheckResult]:
    """Yield results as they are made, skipping those whose key is in `done`.

    Raises:
        UnknownNameError: an op, provider, variant or check there is not.
    """
    checks = _check_names(request)
    _check_variants(request)
    if request.device == "cpu":
        # Tensors are small, and threads that wait for each other are slow on a busy machine.
        torch.set_num_threads(1)
    for spec in select(request.ops):
        cases = tuple(
            c for c in spec.cases if not request.variants or c.variant in request.variants
        )
        if not cases:
            continue
        for provider in request.providers:
            call = resolve(provider, spec, request.device)
            if isinstance(call, Unavailable):
                yield _cannot_run(spec, provider, request.device, call.reason)
                continue
            for dtype in request.dtypes or DEFAULT_DTYPES[request.device]:
                subject = Subject(spec, call, request.device, DTYPES[dtype], cases)
                for name, check in checks.items():
                    if (spec.name, provider, name, request.device, dtype) in done:
                        continue
                    if provider != "ours" and name in MAY_FAULT:
                        yield _isolated(subject, provider, name)
                    else:
                        yield run_check(subject, provider, name, check)
