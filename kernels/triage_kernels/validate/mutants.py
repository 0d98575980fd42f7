"""Defects planted in copies of our kernels, to see that the validator catches each of them.

A mutant is its kernel's source with a few words changed: the copy cannot drift from the
original, and an edit that no longer matches the source is an error. Beside the validator's
verdict stands that of the tolerance upstream tests use on such a kernel, on data like
theirs, which is what the validator is for.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from triage_kernels import ops
from triage_kernels.core.errors import MutantError, no_such
from triage_kernels.core.spec import KernelSpec, as_tuple, copy_args
from triage_kernels.validate import children
from triage_kernels.validate.checks import ALL
from triage_kernels.validate.checks.guarded import under_guard
from triage_kernels.validate.checks.subject import Subject
from triage_kernels.validate.children import Job
from triage_kernels.validate.defects import DEFECTS, Mutant
from triage_kernels.validate.registry import OURS
from triage_kernels.validate.results import CRASHES, DTYPES, run_check

# (absolute, relative) tolerance in bf16 of the tests found upstream; None where none was.
UPSTREAM: dict[str, tuple[float, float] | None] = {
    "gemma4_fused_routing": (5e-3, 5e-3),
    "gemma_routing_post_topk": None,
    "gemma_rmsnorm_residual_scalar": (2e-2, 2e-2),
    "gemma_rmsnorm_add": (2e-2, 2e-2),
    "gemma_dual_rmsnorm_residual_scalar": None,
    "gemma_qkv_rmsnorm": None,
    "gemma_qkv_rmsnorm_shared_kv": (2e-2, 2e-2),
    "gemma_gelu_tanh_mul": (5e-2, 5e-2),
    "gemma_post_attn_triple_rmsnorm": (5e-2, 5e-2),
    "gemma_layer_tail_next_norm": None,
    "gemma_moe_layer_tail_next_norm": None,
    "gemma_attention_preamble": None,
}


@dataclass(frozen=True, slots=True)
class Detection:
    """What became of one mutant.

    Attributes:
        caught_by: the checks that failed, in their order; empty means it slipped through.
        first: the worst finding of the first of them.
        upstream: "passes", "fails" or "no test": the upstream tolerance on it.
    """

    mutant: str
    op: str
    what: str
    caught_by: tuple[str, ...]
    first: str
    upstream: str
    link: str = ""


def source_of(mutant: Mutant) -> str:
    """The mutated source.

    Raises:
        MutantError: an edit does not match the source exactly once.
    """
    path = Path(ops.__file__).with_name(f"{mutant.module}.py")
    text = path.read_text()
    for old, new in mutant.edits:
        if text.count(old) != 1:
            raise MutantError(
                f"{mutant.name}: {text.count(old)} matches in {path.name}, not one, of {old!r}"
            )
        text = text.replace(old, new)
    return text


def plant(mutant: Mutant, folder: Path) -> Callable[..., Any]:
    """The launcher of a mutated copy, loaded from a file in `folder` (Triton reads its source)."""
    name = f"{mutant.module}__{mutant.name.replace('-', '_')}"
    path = folder / f"{name}.py"
    path.write_text(source_of(mutant))
    spec = importlib.util.spec_from_file_location(f"triage_kernels_mutants.{name}", path)
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    launcher: Callable[..., Any] = getattr(module, mutant.op)
    return launcher


def _spec(op: str) -> KernelSpec:
    return next(spec for spec in OURS if spec.name == op)


def _upstream_data(spec: KernelSpec) -> dict[str, Any]:
    """bf16 data as upstream tests draw it: weights a tenth of a normal deviate, in fp32."""
    generator = torch.Generator().manual_seed(0)
    args = spec.make(spec.cases[0].dims, 3, torch.bfloat16, generator)
    for name in spec.vectors:
        if args[name] is not None and spec.judge != "routing":
            noise = 0.1 * torch.randn(args[name].shape, generator=generator)
            args[name] = noise.to(torch.bfloat16)
    return args


def passes_upstream(spec: KernelSpec, call: Callable[..., Any]) -> str:
    """Whether `call` would pass the upstream tolerance against the unfused chain in bf16.

    The kernel runs in fp32 on bf16 values and its result is rounded to bf16 here, since
    the interpreter's own cast truncates.
    """
    tolerance = UPSTREAM[spec.name]
    if tolerance is None:
        return "no test"
    narrow = _upstream_data(spec)
    wide = {
        k: v.float() if isinstance(v, Tensor) and v.is_floating_point() else v
        for k, v in copy_args(narrow).items()
    }
    want = as_tuple(spec.unfused(**copy_args(narrow)))
    try:
        result, _ = under_guard(call, wide)
        got = as_tuple(result)
    except CRASHES:
        return "fails"
    if spec.judge == "routing":
        # Upstream compares weights sorted by id, or only their sums where an id differs.
        if not torch.equal(got[1].sort(-1).values, want[1].sort(-1).values):
            got, want = (got[0].sum(-1),), (want[0].sum(-1),)
        else:
            got, want = ((w.gather(-1, i.long().argsort(-1)),) for w, i in (got, want))
    atol, rtol = tolerance
    close = all(
        torch.allclose(g.to(w.dtype).float(), w.float(), atol=atol, rtol=rtol)
        for g, w in zip(got, want, strict=False)
    )
    return "passes" if close else "fails"


_UPSTREAM_STEP = "upstream"
_Step = tuple[str, str, str, str]  # mutant, check, outcome, worst finding


def detect(mutant: Mutant, folder: Path, device: str = "cpu") -> Detection:
    """Run the checks on one mutant, each in a child where the device lets it."""
    return _detection(mutant, list(_steps([_job(mutant, folder, device)], 1, device)))


def detect_all(
    names: Sequence[str] = (), device: str = "cpu", workers: int = 0
) -> Iterator[Detection]:
    """Run the checks on the mutants of a device, or on those named.

    On a CPU as many at a time as there are cores.
    """
    known = {m.name for m in DEFECTS}
    for name in names:
        if name not in known:
            raise no_such("mutant", name, sorted(known))
    chosen = {m.name: m for m in DEFECTS if (m.name in names if names else m.device == device)}
    made: dict[str, list[_Step]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [_job(mutant, Path(folder), device) for mutant in chosen.values()]
        left = {mutant: len(job.steps) for mutant, job in zip(chosen, jobs, strict=True)}
        for step in _steps(jobs, workers or os.cpu_count() or 1, device):
            made[step[0]].append(step)
            if len(made[step[0]]) == left[step[0]]:
                yield _detection(chosen[step[0]], made[step[0]])


def _steps(jobs: Sequence[Job[_Step]], workers: int, device: str) -> Iterator[_Step]:
    if device == "cpu" and children.available():
        torch.set_num_threads(1)
        yield from children.in_children(jobs, workers)
    else:
        for job in jobs:
            yield from map(job.run, job.steps)


def _job(mutant: Mutant, folder: Path, device: str) -> Job[_Step]:
    spec = _spec(mutant.op)
    call = plant(mutant, folder)
    cases = spec.cases[: mutant.cases]
    subject = Subject(spec, call, device, DTYPES[mutant.dtype], cases, many_rows=False)

    def run(name: str) -> _Step:
        if name == _UPSTREAM_STEP:
            # Their tests launch plainly, where a mutant of dependent launches is right.
            plain = mutant.device == "cpu"
            return mutant.name, name, passes_upstream(spec, call) if plain else "no test", ""
        result = run_check(subject, "mutant", name, ALL[name])
        return mutant.name, name, result.outcome, result.worst

    def died(name: str, why: str) -> _Step:
        return mutant.name, name, "fails" if name == _UPSTREAM_STEP else "FAIL", why

    return Job((*(mutant.checks or tuple(ALL)), _UPSTREAM_STEP), run, died)


def _detection(mutant: Mutant, steps: Sequence[_Step]) -> Detection:
    caught = [(name, worst) for _, name, outcome, worst in steps if outcome == "FAIL"]
    upstream = next(outcome for _, name, outcome, _ in steps if name == _UPSTREAM_STEP)
    first = caught[0][1] if caught else ""
    by = tuple(name for name, _ in caught)
    return Detection(mutant.name, mutant.op, mutant.what, by, first, upstream, mutant.link)


def matrix(detections: Sequence[Detection]) -> str:
    """The detection matrix as Markdown."""
    lines = [
        "| defect | kernel | what was changed | caught by | upstream tolerance | reported |",
        "|---|---|---|---|---|---|",
    ]
    order = {m.name: number for number, m in enumerate(DEFECTS)}
    for d in sorted(detections, key=lambda d: order.get(d.mutant, len(order))):
        by = ", ".join(d.caught_by) or "**nothing**"
        verdict = {"passes": "lets it through", "fails": "catches it"}.get(d.upstream, d.upstream)
        lines.append(f"| {d.mutant} | {d.op} | {d.what} | {by} | {verdict} | {d.link} |")
    caught = sum(bool(d.caught_by) for d in detections)
    through = sum(d.upstream == "passes" for d in detections)
    untested = sum(d.upstream == "no test" for d in detections)
    lines.append("")
    lines.append(
        f"{caught} of {len(detections)} caught. Upstream tolerances let {through} through; "
        f"{untested} are in kernels without an upstream test."
    )
    return "\n".join(lines) + "\n"
