"""Checks that a row's bits are its own: whatever M, its neighbours, its place, its stride."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from triage_kernels.core.spec import Args, Case, Outputs
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


def _alone_and_permuted(
    subject: Subject, case: Case, args: Args, want: Outputs
) -> Iterator[Finding]:
    for row in (0, 4):
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


def row_invariance(subject: Subject) -> Iterator[Finding]:
    """Bit-equal alone, permuted, and in every case among more rows than a grid switches at."""
    # On a CPU one side of each switch is the small run itself.
    counts = (257,) if subject.device == "cpu" else (255, 256, 257, 512, 1024, 1025)
    many = subject.many_rows and (subject.device != "cpu" or subject.dtype == torch.float16)
    for case in subject.cases if many else subject.structural:
        args = subject.make(case, 5, seed=6)
        want = subject.run(args)
        if case in subject.structural:
            yield from _alone_and_permuted(subject, case, args, want)
        for count in counts if many else ():
            index = torch.arange(count) % 5
            repeated = subject.by_row(args, index)
            # Many rows with one slot would race: every output but the caches is compared.
            if repeated.get("slots") is not None:
                repeated["slots"] = torch.full_like(repeated["slots"], -1)
            got = subject.run(repeated)
            for output, mine, other in zip(subject.spec.outputs, got, want, strict=False):
                if output.rows:
                    difference = same_bits(mine, other[index.to(other.device)])
                    make = failed if difference.count else passed
                    yield make(f"{case.name}, M = {count}, {output.name}", difference.describe())


def stride_invariance(subject: Subject) -> Iterator[Finding]:
    """Bit-equal whatever the strides: rows far apart, rows on one another, a stride past int32."""
    for case in subject.structural:
        args = subject.make(case, 4, seed=8)
        want = subject.run(args)
        for pad in (16, 3):
            strided, _ = embed(args, subject.spec, pad)
            got = subject.run(strided)
            yield from _compare(subject, f"{case.name}, rows {pad} apart", got, want, None)
        for name in subject.row_names(args):
            if name in subject.spec.in_place:
                continue
            # One row for all: its stride is 0, that of the others is not.
            packed = {**args, name: args[name][:1].repeat(4, 1)}
            got = subject.run({**args, name: args[name][:1].clone().expand(4, -1)})
            where = f"{case.name}, {name} one row for all"
            yield from _compare(subject, where, got, subject.run(packed), None)
        one = subject.by_row(args, torch.tensor([1]))
        for name in subject.row_names(one):
            far = one[name].clone().as_strided(one[name].shape, (2**31, 1))
            got = subject.run({**one, name: far})
            where = f"{case.name}, one row, stride 2^31 of {name}"
            yield from _compare(subject, where, got, subject.run(one), None)
