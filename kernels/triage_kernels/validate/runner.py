"""Run the checks over kernels, providers and dtypes, one result at a time.

A result is made whether the kernel passes, fails, raises or cannot run, and is handed
on at once, so a run that is cut short keeps what it has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from triage_kernels.core.errors import no_such
from triage_kernels.core.models import VARIANTS
from triage_kernels.core.spec import KernelSpec
from triage_kernels.validate import children
from triage_kernels.validate.checks import ALL, Check
from triage_kernels.validate.checks.subject import Subject
from triage_kernels.validate.children import Job
from triage_kernels.validate.foreign import Foreign
from triage_kernels.validate.isolated import in_a_process
from triage_kernels.validate.providers import Unavailable, resolve
from triage_kernels.validate.registry import select
from triage_kernels.validate.results import DTYPES, CheckResult, died, run_check

# Checks in which a foreign kernel may read or write outside what we mapped for it.
MAY_FAULT = frozenset({"int32-overflow"})

TRUNCATED = (
    "Triton's interpreter truncates where a GPU rounds to bfloat16: run it with --device cuda"
)

# bf16 is for a GPU only: in the interpreter every right kernel would fail.
DEFAULT_DTYPES = {"cpu": ("float16", "float32"), "cuda": ("bfloat16", "float16", "float32")}


@dataclass(frozen=True, slots=True)
class Request:
    """What to validate; empty means everything there is, no workers one per core.

    Attributes:
        also: kernels that are in no registry.
        call: an implementation, under the name that `providers` has for it.
    """

    ops: tuple[str, ...] = ()
    providers: tuple[str, ...] = ("ours",)
    variants: tuple[str, ...] = ()
    device: str = "cpu"
    dtypes: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    workers: int = 0
    also: tuple[KernelSpec, ...] = ()
    call: tuple[str, Callable[..., Any]] | None = None


def _check_names(request: Request) -> dict[str, Check]:
    for name in request.checks:
        if name not in ALL:
            raise no_such("check", name, ALL)
    return {n: c for n, c in ALL.items() if not request.checks or n in request.checks}


def _check_variants(request: Request) -> None:
    known = [v.name for v in VARIANTS]
    for name in request.variants:
        if name not in known:
            raise no_such("variant", name, known)


def _isolated(subject: Subject, provider: str, name: str) -> CheckResult:
    """Run one check in a process of its own; its death is the result."""
    dtype = str(subject.dtype).removeprefix("torch.")
    names = tuple(c.name for c in subject.cases)
    theirs = subject.call.names if isinstance(subject.call, Foreign) else None
    record = in_a_process(
        subject.spec.name, provider, name, dtype, subject.device, names, names=theirs
    )
    if isinstance(record, str):
        return died(subject, provider, name, record)
    return CheckResult(**{**record, "failures": tuple(record["failures"])})


def _cannot_run(
    spec: KernelSpec, provider: str, device: str, reason: str, dtype: str = "-"
) -> CheckResult:
    repro = f"triage kernels validate {spec.name} --provider {provider} --device {device}"
    return CheckResult(
        spec.name, provider, "-", device, dtype, "CANNOT_RUN", reason, 0, (), repro, 0.0
    )


def validate(
    request: Request, *, done: frozenset[tuple[str, ...]] = frozenset()
) -> Iterator[CheckResult]:
    """Yield results as they are made, skipping those whose key is in `done`.

    On a CPU every implementation runs in a child of its own, `request.workers` at a time:
    a wild store fails its check, and the checks after it still run.

    Raises:
        UnknownNameError: an op, provider, variant or check there is not.
    """
    checks = _check_names(request)
    _check_variants(request)
    jobs: list[Job[CheckResult]] = []
    for spec in select(request.ops, request.also):
        cases = tuple(
            c for c in spec.cases if not request.variants or c.variant in request.variants
        )
        if not cases:
            continue
        for provider in request.providers:
            given = request.call if request.call and provider == request.call[0] else None
            call = given[1] if given else resolve(provider, spec, request.device)
            if isinstance(call, Unavailable):
                yield _cannot_run(spec, provider, request.device, call.reason)
                continue
            for dtype in request.dtypes or DEFAULT_DTYPES[request.device]:
                if request.device == "cpu" and dtype == "bfloat16":
                    yield _cannot_run(spec, provider, request.device, TRUNCATED, dtype)
                    continue
                subject = Subject(spec, call, request.device, DTYPES[dtype], cases)
                names = tuple(
                    name
                    for name in checks
                    if (spec.name, provider, name, request.device, dtype) not in done
                )
                jobs.append(check_job(subject, provider, names))
    if request.device == "cpu" and children.available():
        # Tensors are small, and threads that wait for each other are slow on a busy machine;
        # a child forked from a process whose threads hold work would wait for ever.
        torch.set_num_threads(1)
        # The large ones first: none is left for one core at the end.
        jobs.sort(key=lambda job: -job.size)
        yield from children.in_children(jobs, request.workers or os.cpu_count() or 1)
    else:
        for job in jobs:
            yield from map(job.run, job.steps)


def check_job(subject: Subject, provider: str, names: tuple[str, ...]) -> Job[CheckResult]:
    """The checks of one subject, as steps of a child."""

    def run(name: str) -> CheckResult:
        if subject.device == "cuda" and provider != "ours" and name in MAY_FAULT:
            return _isolated(subject, provider, name)
        return run_check(subject, provider, name, ALL[name])

    size = len(subject.cases) * len(subject.spec.outputs) * (subject.dtype == torch.float16) + 1
    return Job(names, run, partial(died, subject, provider), size)
