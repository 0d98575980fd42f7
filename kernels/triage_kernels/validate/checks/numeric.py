"""Checks of value: error bound, error norm, the unfused chain, the eager twin, outliers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from triage_kernels.core.spec import Args, as_tuple, copy_args
from triage_kernels.validate.checks.subject import Finding, Subject, Trial, failed, passed, skipped
from triage_kernels.validate.compare import against_exact, floor_of, rel_l2

# fp32 chains round at every step wherever they are cut, so fused and unfused differ by
# chance there; chains with the same rounding points differ by ties only.
_UNFUSED_SLACK = {torch.float32: 2.0, torch.float16: 1.01, torch.bfloat16: 1.01}


def _judged(trial: Trial, subject: Subject) -> Iterator[Finding]:
    for (name, got), exact in zip(subject.named(trial.outputs), trial.exact, strict=False):
        where = f"{trial.case.name}, {name}"
        if got.shape != exact.value.shape:
            yield failed(
                where, f"shape {tuple(got.shape)}, not {tuple(exact.value.shape)}", torch.inf
            )
            continue
        comparison = against_exact(got, exact)
        make = passed if comparison.within_bound else failed
        yield make(where, comparison.describe(), comparison.excess)


def error_bound(subject: Subject) -> Iterator[Finding]:
    """Every element within half an ulp and a few fp32 roundings of the exact answer."""
    for case in subject.cases:
        yield from _judged(subject.trial(case), subject)


def relative_l2_floor(subject: Subject) -> Iterator[Finding]:
    """The error as a whole is what one rounding costs."""
    for case in subject.cases:
        trial = subject.trial(case)
        for (name, got), exact in zip(subject.named(trial.outputs), trial.exact, strict=False):
            if got.shape != exact.value.shape or not got.is_floating_point():
                continue
            comparison = against_exact(got, exact)
            floor = floor_of(comparison, got.dtype)
            detail = f"{comparison.rel_l2:.3g} relative L2, at most {floor:.3g}"
            within = comparison.rel_l2 <= floor
            make = passed if within else failed
            yield make(f"{case.name}, {name}", detail, comparison.rel_l2 / floor)


def no_worse_than_unfused(subject: Subject) -> Iterator[Finding]:
    """Against one oracle, the fused kernel errs no more than the chain it replaces."""
    for case in subject.cases:
        trial = subject.trial(case)
        unfused = as_tuple(subject.spec.unfused(**copy_args(trial.args)))
        triples = zip(subject.named(trial.outputs), unfused, trial.exact, strict=False)
        for (name, got), other, exact in triples:
            if got.shape != exact.value.shape or not got.is_floating_point():
                continue
            mine, theirs = rel_l2(got, exact), rel_l2(other, exact)
            allowed = theirs * _UNFUSED_SLACK[got.dtype] + 1e-7
            make = passed if mine <= allowed else failed
            detail = f"{mine:.3g} relative L2, unfused {theirs:.3g}"
            yield make(f"{case.name}, {name}", detail, mine / max(allowed, 1e-30))


def eager_twin(subject: Subject) -> Iterator[Finding]:
    """Fused and twin each keep the bound, so they differ by at most the sum of both."""
    for case in subject.cases:
        trial = subject.trial(case)
        twin = subject.eager(trial.args)
        triples = zip(subject.named(trial.outputs), twin, trial.exact, strict=False)
        for (name, got), other, exact in triples:
            where = f"{case.name}, {name}"
            if got.shape != other.shape or got.dtype != other.dtype:
                seen = f"{got.dtype} {tuple(got.shape)}"
                yield failed(where, f"{seen}, twin {other.dtype} {tuple(other.shape)}", torch.inf)
                continue
            for label, tensor in (("fused", got), ("twin", other)):
                comparison = against_exact(tensor, exact)
                # The twin of a later stage reads its own rounding of the first.
                if label == "twin" and name != subject.spec.outputs[0].name:
                    continue
                make = passed if comparison.within_bound else failed
                yield make(where, f"{label}: {comparison.describe()}", comparison.excess)


def _with_outliers(args: Args, subject: Subject) -> Args:
    """A few channels a hundred times larger, one row tiny, one row zero."""
    shaped = dict(args)
    for name in subject.row_names(args):
        value: Tensor = args[name]
        if not value.is_floating_point() or subject.spec.judge == "routing":
            continue
        changed = value.clone()
        changed[:, :: max(1, value.shape[1] // 5)] *= 100
        changed[1 % len(changed)] *= 1e-4
        changed[2 % len(changed)] = 0
        shaped[name] = changed
    return shaped


def outliers(subject: Subject) -> Iterator[Finding]:
    """The bound holds where one channel dominates the norm, where eps does, and on zeros."""
    if subject.spec.judge == "routing":
        yield skipped("-", "a selection has no norm to dominate")
        return
    for case in subject.structural:
        args = _with_outliers(subject.make(case, max(4, subject.rows(case)), seed=1), subject)
        yield from _judged(subject.trial(case, args=args), subject)


def mixed_weights(subject: Subject) -> Iterator[Finding]:
    """Weights may be any float dtype beside the rows."""
    if not subject.spec.vectors:
        yield skipped("-", "no weights")
        return
    for dtype in (torch.float32, torch.float16):
        for case in subject.structural:
            args = subject.make(case, 3, seed=2)
            for name in subject.spec.vectors:
                if args[name] is not None:
                    # With digits that no narrower dtype has.
                    fine = 1 + torch.linspace(0, 2.0**-9, args[name].numel(), device=subject.device)
                    args[name] = (args[name].float() * fine).to(dtype)
            label = f"weights {str(dtype).removeprefix('torch.')}"
            for finding in _judged(subject.trial(case, args=args), subject):
                yield Finding(
                    finding.status, f"{finding.case}, {label}", finding.detail, finding.severity
                )
