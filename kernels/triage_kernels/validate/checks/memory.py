"""Checks of memory: what a call reads beside its inputs, and what it writes beside its outputs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from triage_kernels.core.spec import as_tuple, copy_args
from triage_kernels.validate.checks.guarded import PAINT, embed, painted, under_guard
from triage_kernels.validate.checks.subject import Finding, Subject, failed, passed, skipped
from triage_kernels.validate.compare import bits, same_bits


def nan_padding(subject: Subject) -> Iterator[Finding]:
    """NaN around and, where unread, in every input changes no bit; nothing there is written."""
    for case in subject.structural:
        args = subject.make(case, 4, seed=9)
        want = subject.run(args)
        framed, frames = embed(subject.spec.poison(args), subject.spec, 16)
        got = subject.on(framed)
        for (name, mine), other in zip(subject.named(got), want, strict=False):
            difference = same_bits(mine, other)
            make = failed if difference.count else passed
            yield make(f"{case.name}, {name}", f"amid NaN: {difference.describe()}")
        for frame in frames:
            damage = frame.damage()
            make = failed if damage else passed
            yield make(f"{case.name}, around {frame.name}", f"{damage} elements written")


def sentinel_guards(subject: Subject) -> Iterator[Finding]:
    """Fresh outputs are written whole, and nothing beside them is."""
    for case in subject.structural:
        args = copy_args(subject.make(case, 4, seed=10))
        result, frames = under_guard(subject.call, args)
        for frame in frames:
            damage = frame.damage()
            make = failed if damage else passed
            yield make(f"{case.name}, around {frame.name}", f"{damage} elements written")
        for name, tensor in subject.named(as_tuple(result)):
            if tensor.dtype in PAINT:
                left = int(painted(tensor).sum())
                make = failed if left else passed
                yield make(f"{case.name}, {name}", f"{left} elements never written")


def aliasing(subject: Subject) -> Iterator[Finding]:
    """Every argument that is no declared output is unchanged to the bit."""
    for case in subject.structural:
        args = subject.make(case, 4, seed=11)
        used = copy_args(args)
        got = subject.on(used)
        for name, value in args.items():
            if isinstance(value, Tensor) and name not in subject.spec.in_place:
                difference = same_bits(used[name], value)
                make = failed if difference.count else passed
                yield make(f"{case.name}, {name}", f"unchanged: {difference.describe()}")
        for output, tensor in zip(subject.spec.outputs, got, strict=False):
            if output.in_place is None:
                continue
            held = used[output.in_place]
            difference = same_bits(held, tensor)
            make = failed if difference.count else passed
            yield make(f"{case.name}, {output.name}", f"in place: {difference.describe()}")


def in_place_out(subject: Subject) -> Iterator[Finding]:
    """Where `out=` may be an input, the result has the bits of a fresh one."""
    code = getattr(subject.call, "__code__", None)
    if code is None or "out" not in code.co_varnames[: code.co_argcount]:
        yield skipped("-", "takes no out=")
        return
    for case in subject.structural:
        args = subject.make(case, 4, seed=12)
        (want,) = subject.run(args)
        for name in subject.row_names(args):
            used = copy_args(args)
            (got,) = subject.on(used, out=used[name])
            difference = same_bits(got, want)
            make = failed if difference.count else passed
            yield make(f"{case.name}, out is {name}", difference.describe())
        # An out= with a row stride of its own, further apart than any input's.
        framed, frames = embed({"out": torch.zeros_like(want)}, subject.spec, 80)
        (got,) = subject.on({**copy_args(args), **framed})
        difference = same_bits(got, want)
        damage = sum(frame.damage() for frame in frames)
        make = failed if difference.count or damage else passed
        detail = f"{difference.describe()}; {damage} elements beside it written"
        yield make(f"{case.name}, out far apart", detail)


def slot_bounds(subject: Subject) -> Iterator[Finding]:
    """A slot outside the cache is not written: not the one before it, not the one after."""
    for case in subject.structural:
        args = subject.make(case, 4, seed=15)
        if args.get("slots") is None:
            yield skipped(case.name, "no slots")
            continue
        size = args["k_cache"].shape[0]
        args["slots"] = torch.tensor([-1, 1, size, 0], device=subject.device)
        # The row of a slot that is not written is what padding leaves there.
        for name in subject.row_names(args):
            args[name] = args[name].clone()
            args[name][0] = torch.nan
        framed, frames = embed(args, subject.spec, 16)
        got, want = subject.on(framed), subject.eager(args)
        for (name, mine), twin in zip(subject.named(got), want, strict=False):
            written = bits(mine) != bits(args[name])
            expected = bits(twin) != bits(args[name])
            stray, missing = int((written & ~expected).sum()), int((expected & ~written).sum())
            make = failed if stray or missing > expected.sum() // 2 else passed
            detail = f"{stray} elements of other slots written, {missing} of its own not"
            yield make(f"{case.name}, {name}", detail)
        for frame in frames:
            damage = frame.damage()
            make = failed if damage else passed
            yield make(f"{case.name}, around {frame.name}", f"{damage} elements written")
