"""Checks that a call outside the contract is refused instead of answered."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from triton.errors import TritonError

from triage_kernels.core.errors import StrayWriteError
from triage_kernels.core.spec import Args, Misuse, as_tuple
from triage_kernels.validate.checks.subject import Finding, Subject, failed, passed

REFUSALS = (
    ValueError,
    AssertionError,
    TypeError,
    RuntimeError,
    NotImplementedError,
    TritonError,
)


_RIGHT = "the result happens to be right"


def _amid_nan(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A short tensor cut out of a longer one: reading past its end finds NaN, not a fault."""
    whole = torch.full((value.numel() + 8192,), torch.nan, dtype=value.dtype, device=value.device)
    count = 1
    for size in shape:
        count *= size
    short = whole[:count].view(shape)
    short.copy_(value.reshape(-1)[:count].view(shape))
    return short


def _strided(args: Args) -> Iterator[Misuse]:
    """Every tensor with a last stride of 2: what lies between is the same values reversed.

    They are legal where they are, so a kernel that takes the tensor for packed reads no
    stray index, only wrong values.
    """
    for name, value in args.items():
        if not isinstance(value, Tensor) or value.dim() == 0 or value.shape[-1] < 2:
            continue
        spread = torch.stack((value, value.flip(-1)), dim=-1).flatten(-2)[..., ::2]
        yield Misuse(f"{name} with last stride 2", {**args, name: spread}, or_right=True)


def generic(subject: Subject, args: Args) -> Iterator[Misuse]:
    """Misuses that every kernel with such arguments has."""
    floats = [n for n in subject.row_names(args) if args[n].is_floating_point()]
    yield from _strided(args)
    for name in floats:
        value = args[name]
        broadcast = value[:, :1].expand(value.shape)
        yield Misuse(f"{name} broadcast over columns", {**args, name: broadcast}, or_right=True)
    for name in floats[1:]:
        value = args[name]
        short = (value.shape[0] - 1, value.shape[1])
        yield Misuse(f"{name} one row short", {**args, name: _amid_nan(value, short)})
        other = torch.float32 if value.dtype != torch.float32 else torch.float16
        yield Misuse(f"{name} in another dtype", {**args, name: value.to(other)}, or_right=True)
    for name in subject.spec.vectors:
        if args[name] is not None:
            short_vector = _amid_nan(args[name], (args[name].shape[0] - 1,))
            if short_vector.shape[0] and name not in subject.spec.unbound:
                yield Misuse(f"{name} one element short", {**args, name: short_vector})
    code = getattr(subject.call, "__code__", None)
    if code is not None and "out" in code.co_varnames[: code.co_argcount] and floats:
        value = args[floats[0]]
        shifted = torch.zeros(value.numel() + 8, dtype=value.dtype, device=value.device)
        inside = shifted[: value.numel()].view(value.shape)
        inside.copy_(value)
        out = shifted[8:].view(value.shape)
        yield Misuse("out overlaps an input, shifted", {**args, floats[0]: inside, "out": out})
        yield Misuse(
            "out with rows on one another",
            {**args, "out": value[:1].clone().expand(value.shape)},
        )


def _effect(subject: Subject, args: Args, result: object) -> str:
    """What an accepted call made of it, beside torch's answer."""
    # Tensors of their own each: the right answer is the one without the overlap.
    apart = {k: v.clone() if isinstance(v, Tensor) else v for k, v in args.items()}
    try:
        want = subject.eager(apart)
    except REFUSALS:
        return "torch refuses it"
    got = as_tuple(result)  # type: ignore[arg-type]
    for (name, mine), other in zip(subject.named(got), want, strict=False):
        if mine.shape != other.shape:
            return f"{name} has shape {tuple(mine.shape)}"
        worst = float((mine.double() - other.double()).abs().nan_to_num(torch.inf).max())
        if worst > 0.02:
            return f"{name} is off by {worst:.3g}"
    return _RIGHT


def refuses_misuse(subject: Subject) -> Iterator[Finding]:
    """Wrong shapes, dtypes, strides and overlaps raise before anything is launched."""
    case = subject.cases[0]
    args = subject.make(case, 3, seed=14)
    for misuse in (*generic(subject, args), *subject.spec.misuse(args)):
        where = f"{case.name}, {misuse.label}"
        try:
            result = subject.run(misuse.args)
        except StrayWriteError as error:
            yield failed(where, f"accepted; {error}")
            continue
        except REFUSALS as error:
            yield passed(where, f"refused: {type(error).__name__}: {error}")
            continue
        effect = _effect(subject, misuse.args, result)
        harmless = misuse.or_right and effect == _RIGHT
        make = passed if harmless else failed
        yield make(where, f"accepted; {effect}")
