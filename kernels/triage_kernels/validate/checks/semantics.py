"""Checks of meaning: dtypes, NaN and infinity, no hidden state, an empty batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from triage_kernels.core.spec import copy_args
from triage_kernels.validate.checks.subject import Finding, Subject, failed, passed, skipped
from triage_kernels.validate.compare import against_exact, same_bits, same_specials


def dtype_follows_input(subject: Subject) -> Iterator[Finding]:
    """Row results come in the dtype of the rows."""
    for case in subject.structural:
        trial = subject.trial(case)
        expected = subject.eager(trial.args)
        for (name, got), want in zip(subject.named(trial.outputs), expected, strict=False):
            where = f"{case.name}, {name}"
            make = passed if got.dtype == want.dtype else failed
            yield make(where, f"{got.dtype} for rows of {subject.dtype}")


def specials(subject: Subject) -> Iterator[Finding]:
    """NaN and infinity go where torch sends them, and other rows do not change by a bit."""
    if subject.spec.judge == "routing":
        yield skipped("-", "see selection-contract")
        return
    huge = 6e4 if subject.dtype == torch.float16 else 1e30
    for case in subject.structural:
        rows = 8
        clean = subject.make(case, rows, seed=3)
        before = subject.run(clean)
        for name in subject.row_names(clean):
            if not clean[name].is_floating_point():
                continue
            args = dict(clean)
            args[name] = clean[name].clone()
            last = args[name].shape[1] - 1
            for row, (column, value) in enumerate(
                ((0, torch.nan), (last, torch.inf), (last // 2, -torch.inf), (0, huge)), start=1
            ):
                args[name][row, column] = value
            # Rows that are so throughout: padding of a captured graph makes them.
            args[name][5], args[name][6] = torch.nan, torch.inf
            got, want = subject.run(args), subject.eager(args)
            for (output, mine), twin in zip(subject.named(got), want, strict=False):
                difference = same_specials(mine, twin)
                where = f"{case.name}, {output}, specials in {name}"
                make = failed if difference.count else passed
                yield make(where, f"NaN and infinity: {difference.describe()}")
            for spec, mine, old in zip(subject.spec.outputs, got, before, strict=False):
                if not spec.rows:
                    continue
                difference = same_bits(mine[[0, 7]], old[[0, 7]])
                where = f"{case.name}, {spec.name}, rows beside specials in {name}"
                make = failed if difference.count else passed
                yield make(where, difference.describe())


def gelu_tail(subject: Subject) -> Iterator[Finding]:
    """No cancellation: for gates in [-8, -3] the result keeps its relative accuracy."""
    if subject.spec.name != "gemma_gelu_tanh_mul":
        yield skipped("-", "no activation")
        return
    case = subject.cases[0]
    args = subject.make(case, 3)
    width = args["gate"].shape[1]
    tail = torch.linspace(-8.0, -3.0, width, device=args["gate"].device).expand(3, width)
    args["gate"] = tail.to(subject.dtype).contiguous()
    args["per_layer_input"] = torch.ones_like(args["gate"])
    (got,) = subject.run(args)
    (exact,) = subject.spec.oracle(args, (got,))
    relative = (got.double() - exact.value).abs() / exact.value.abs()
    # Subnormal results have no relative accuracy to keep.
    normal = exact.value.abs() > torch.finfo(subject.dtype).tiny
    worst = float(torch.where(normal, relative, 0.0).max())
    allowed = torch.finfo(subject.dtype).eps + 2e-5
    make = passed if worst <= allowed else failed
    yield make(case.name, f"relative error {worst:.3g}, at most {allowed:.3g}", worst / allowed)


def stateless(subject: Subject) -> Iterator[Finding]:
    """A second call sees what the tensors hold now, not what they held at the first."""
    for case in subject.structural:
        args = copy_args(subject.make(case, 3, seed=4))
        subject.on(args)
        fresh = subject.make(case, 3, seed=5)
        for name, value in args.items():
            if isinstance(value, torch.Tensor):
                value.copy_(fresh[name])
                if value.numel() == 1 and value.is_floating_point():
                    value.fill_(1.5)
                    fresh[name] = value.clone()
        # Judged by the oracle: another run could be answered from the same stale memory.
        got = subject.on(args)
        for (name, mine), exact in zip(
            subject.named(got), subject.spec.oracle(fresh, got), strict=False
        ):
            comparison = against_exact(mine, exact)
            make = passed if comparison.within_bound else failed
            yield make(
                f"{case.name}, {name}",
                f"second call: {comparison.describe()}",
                comparison.excess,
            )


def empty_batch(subject: Subject) -> Iterator[Finding]:
    """No rows: no error, outputs without rows, caches untouched."""
    for case in subject.structural:
        args = subject.by_row(
            subject.make(case, 2), torch.zeros(0, dtype=torch.long, device=subject.device)
        )
        try:
            got, want = subject.run(args), subject.eager(args)
        except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
            yield failed(case.name, f"M = 0 raises {type(error).__name__}: {error}")
            continue
        for (name, mine), twin in zip(subject.named(got), want, strict=False):
            difference = same_bits(mine, twin)
            make = failed if mine.shape != twin.shape or difference.count else passed
            yield make(f"{case.name}, {name}", f"M = 0 gives {tuple(mine.shape)}")
