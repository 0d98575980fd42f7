"""Checks of memory: what a call reads beside its inputs, and what it writes beside its outputs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from triage_kernels.core.spec import Args, as_tuple, copy_args
from triage_kernels.validate.checks.guarded import PAINT, embed, painted, under_guard
from triage_kernels.validate.checks.subject import Finding, Subject, failed, passed, skipped
from triage_kernels.validate.compare import same_bits

# Row 2 of a view with this stride starts where a 32-bit offset turns negative. A larger
# stride would not do: Triton passes 2^31 and above as 64-bit.
STRIDE = 2**30
_BEFORE = 2**31


def nan_padding(subject: Subject) -> Iterator[Finding]:
    """NaN around every input changes no bit of the results; nothing around them is written."""
    for case in subject.structural:
        args = subject.make(case, 4, seed=9)
        want = subject.run(args)
        framed, frames = embed(args, subject.spec, 16)
        got = as_tuple(subject.call(**framed))
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
        got = as_tuple(subject.call(**used))
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
            (got,) = as_tuple(subject.call(**used, out=used[name]))
            difference = same_bits(got, want)
            make = failed if difference.count else passed
            yield make(f"{case.name}, out is {name}", difference.describe())


def slot_bounds(subject: Subject) -> Iterator[Finding]:
    """A slot outside the cache is not written: not the one before it, not the one after."""
    for case in subject.structural:
        args = subject.make(case, 4, seed=15)
        if args.get("slots") is None:
            yield skipped(case.name, "no slots")
            continue
        size = args["k_cache"].shape[0]
        args["slots"] = torch.tensor([-1, 1, size, 0], device=subject.device)
        framed, frames = embed(args, subject.spec, 16)
        got, want = as_tuple(subject.call(**framed)), subject.eager(args)
        for (name, mine), twin in zip(subject.named(got), want, strict=False):
            written = mine != args[name]
            expected = twin != args[name]
            stray = int((written & ~expected).sum())
            make = failed if stray else passed
            yield make(f"{case.name}, {name}", f"{stray} elements of other slots written")
        for frame in frames:
            damage = frame.damage()
            make = failed if damage else passed
            yield make(f"{case.name}, around {frame.name}", f"{damage} elements written")


def _far_rows(value: Tensor, rows: int) -> Tensor | None:
    """The rows at `STRIDE` apart, with as much readable memory before them as they span."""
    width = value.shape[1]
    try:
        whole = torch.empty(
            _BEFORE + (rows - 1) * STRIDE + width, dtype=value.dtype, device=value.device
        )
    except (RuntimeError, MemoryError):
        return None
    far = whole.as_strided((rows, width), (STRIDE, 1), _BEFORE)
    far.copy_(value)
    # What a wrapped offset would hit: painted, so that it is neither read nor written unseen.
    whole[:width].fill_(torch.nan if value.is_floating_point() else 0)
    return far


def _memory_for(value: Tensor) -> str | None:
    """Why the far view does not fit, None where it does."""
    need = (_BEFORE + 2 * STRIDE) * value.element_size()
    if value.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return None if free > need + 2**30 else f"needs {need >> 30} GiB, {free >> 30} GiB free"
    # On a CPU untouched pages cost nothing; address space and overcommit decide.
    return None


def int32_overflow(subject: Subject) -> Iterator[Finding]:
    """Rows whose offset does not fit in 32 bits give the bits of packed rows."""
    case = subject.cases[0]
    rows = 3
    packed: Args = subject.make(case, rows, seed=13)
    want = subject.run(packed)
    for name in subject.row_names(packed):
        if packed[name].element_size() > 4 or subject.dtype == torch.float32:
            yield skipped(name, "run in 16 bits: the offset counts elements, not bytes")
            continue
        reason = _memory_for(packed[name])
        far = None if reason else _far_rows(packed[name], rows)
        if far is None:
            yield skipped(name, reason or "the address space for it could not be had")
            continue
        used = copy_args({k: v for k, v in packed.items() if k != name})
        got = as_tuple(subject.call(**{k: far if k == name else used[k] for k in packed}))
        for (output, mine), other in zip(subject.named(got), want, strict=False):
            difference = same_bits(mine, other)
            make = failed if difference.count else passed
            yield make(f"{case.name}, {output}, {name} strided 2^30", difference.describe())
        del far, got
