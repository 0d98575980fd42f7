"""Checks that a row's bits are its own: whatever M, its neighbours, its place, its stride."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from triage_kernels.core.spec import Outputs, as_tuple, copy_args
from triage_kernels.validate.checks.guarded import embed
from triage_kernels.validate.checks.subject import Finding, Subject, failed, passed
from triage_kernels.validate.compare import same_bits


def _compare(
    subject: Subject, where: str, got: Outputs, want: Outputs, index: Tensor | None
) -> Iterator[Finding]:
    for output, mine, other in zip(subject.spec.outputs, got, want, strict=False):
        if index is not None and output.rows:
            other = other[index.to(other.device)]
        elif index is not None and len(index) != other.shape[0] and not output.rows:
            continue
        difference = same_bits(mine, other)
        make = failed if difference.count else passed
        yield make(f"{where}, {output.name}", difference.describe())


def row_invariance(subject: Subject) -> Iterator[Finding]:
    """Bit-equal alone, permuted, and among more rows than any grid switch lies at."""
    counts: tuple[int, ...] = (255, 256, 257, 512, 1024, 1025)
    if subject.device == "cpu":
        # One side of the switch is the small run itself. An interpreted sort is slow.
        counts = (17,) if subject.spec.judge == "routing" else (257,)
    for number, case in enumerate(subject.structural):
        rows = 5
        args = subject.make(case, rows, seed=6)
        want = subject.run(args)
        for row in (0, rows - 1):
            index = torch.tensor([row])
            got = subject.run(subject.by_row(args, index))
            yield from _compare(subject, f"{case.name}, row {row} alone", got, want, index)
        permutation = torch.tensor([3, 0, 4, 1, 2])
        got = subject.run(subject.by_row(args, permutation))
        for output, mine, other in zip(subject.spec.outputs, got, want, strict=False):
            moved = other[permutation.to(other.device)] if output.rows else other
            difference = same_bits(mine, moved)
            make = failed if difference.count else passed
            yield make(f"{case.name}, permuted, {output.name}", difference.describe())
        if (
            number
            or not subject.many_rows
            or (subject.device == "cpu" and subject.dtype != torch.float16)
        ):
            continue
        for count in counts:
            index = torch.arange(count) % rows
            many = subject.by_row(args, index)
            # Many rows with one slot would race: every output but the caches is compared.
            if many.get("slots") is not None:
                many["slots"] = torch.full_like(many["slots"], -1)
            got = subject.run(many)
            for output, mine, other in zip(subject.spec.outputs, got, want, strict=False):
                if output.rows:
                    difference = same_bits(mine, other[index.to(other.device)])
                    make = failed if difference.count else passed
                    yield make(f"{case.name}, M = {count}, {output.name}", difference.describe())


def stride_invariance(subject: Subject) -> Iterator[Finding]:
    """Bit-equal on rows strided past their width, by a multiple of 16 and by an odd number."""
    for case in subject.structural:
        args = subject.make(case, 4, seed=8)
        want = subject.run(args)
        for pad in (16, 3):
            strided, _ = embed(args, subject.spec, pad)
            got = as_tuple(subject.call(**copy_args(strided)))
            yield from _compare(subject, f"{case.name}, rows {pad} apart", got, want, None)
