"""What Triton's sanitizers look for, looked for in Triton's interpreter: no GPU, any Triton.

- `exact_arithmetic`: FPSan's idea, over the ring of `payloads`. Kernels of fp32 alone: a
  narrower type could not hold a payload, and there is nothing to round.
- `counted_descriptors`: IISan's. The interpreter asserts their alignment itself.

Each changes Triton's interpreter while it is active, for the whole process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from triage_kernels.core.errors import KernelError, NoPayloadError
from triage_kernels.core.spec import Args, copy_args
from triage_kernels.validate import payloads
from triage_kernels.validate.payloads import centred, embed, integers

_UNMODELLED = (
    "log", "log2", "sin", "cos", "erf", "floor", "ceil",
)  # fmt: skip


@dataclass
class Arithmetic:
    """What one run under `exact_arithmetic` met: quotients by a number without an inverse."""

    undefined: int = 0


def on_payloads(args: Args) -> Args:
    """The same call with payloads for floats, so that torch and kernels order them alike."""
    copies = copy_args(args)
    for value in copies.values():
        if isinstance(value, Tensor) and value.is_floating_point():
            value.copy_(torch.from_numpy(embed(value.numpy())))
    return copies


@contextmanager
def exact_arithmetic() -> Iterator[Arithmetic]:
    """Run interpreted kernels in the ring of `payloads`.

    Raises:
        KernelError: the interpreter is not built as it has to be.
        NoPayloadError: from a kernel, inside the interpreter's own error: a float narrower than
            fp32, an operation without a meaning here.
    """
    from triton.runtime import interpreter

    met = Arithmetic()
    handle = interpreter.TensorHandle

    def made(data: Any, like: Any) -> Any:
        return handle(centred(data).astype(np.float64 if _bits(like) == 64 else np.float32), like)

    def binary(operation: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        return lambda self, a, b: made(
            operation(integers(a.data), integers(b.data)), a.dtype.scalar
        )

    def unary(operation: Callable[[Any], Any]) -> Callable[..., Any]:
        return lambda self, a: made(operation(integers(a.data)), a.dtype.scalar)

    def divided(a: Any, b: Any) -> Any:
        met.undefined += int((~payloads.has_inverse(b)).sum())
        return a * payloads.inverse(b)

    def tagged(name: str) -> Callable[..., Any]:
        return unary(lambda a: payloads.tagged(a, name))

    def constant(self: Any, value: Any) -> Any:
        return handle(embed(np.array([value], dtype=np.float32)), interpreter.tl.float32)

    builder = interpreter.InterpreterBuilder
    load, total, scan = (
        builder.create_masked_load, interpreter.ReduceOps.sum, interpreter.ScanOps.cumsum,
    )  # fmt: skip

    def loaded(self: Any, ptrs: Any, *rest: Any, **named: Any) -> Any:
        result = load(self, ptrs, *rest, **named)
        if result.dtype.scalar.is_floating():
            _check_width(result.dtype.scalar)
            result.data = embed(result.data).astype(result.data.dtype)
        return result

    def resized(self: Any, value: Any, to: Any, *rest: Any) -> Any:
        _check_width(to.scalar)
        return handle(value.data.astype(np.float64 if _bits(to) == 64 else np.float32), to.scalar)

    def summed(self: Any, given: Any) -> Any:
        if not given.dtype.is_floating():
            return total(self, given)
        sums = integers(given.handle.data).sum(axis=self.axis, keepdims=self.keep_dims)
        return self.to_tensor(centred(sums), given.dtype)

    def scanned(self: Any, given: Any) -> Any:
        if not given.dtype.is_floating():
            return scan(self, given)
        return [self.to_tensor(centred(integers(given.handle.data).cumsum(self.axis)), given.dtype)]

    def refused(name: str) -> Callable[..., Any]:
        def refuse(self: Any, *rest: Any, **named: Any) -> Any:
            raise NoPayloadError(f"{name} has no meaning in exact arithmetic")

        return refuse

    with replaced(
        builder,
        create_fadd=binary(lambda a, b: a + b),
        create_fsub=binary(lambda a, b: a - b),
        create_fmul=binary(lambda a, b: a * b),
        create_fdiv=binary(divided),
        create_precise_divf=binary(divided),
        create_frem=refused("a remainder"),
        create_fma=lambda self, a, b, c: made(
            integers(a.data) * integers(b.data) + integers(c.data), c.dtype.scalar
        ),
        create_dot=lambda self, a, b, d, *rest: made(
            integers(a.data) @ integers(b.data) + integers(d.data), d.dtype.scalar
        ),
        create_exp=unary(payloads.exp),
        create_exp2=unary(payloads.exp2),
        create_sqrt=tagged("sqrt"),
        create_precise_sqrt=tagged("sqrt"),
        create_rsqrt=unary(lambda a: payloads.inverse(payloads.tagged(a, "sqrt"))),
        **{f"create_{name}": tagged(name) for name in _UNMODELLED},
        create_si_to_fp=lambda self, a, to: made(a.data, to.scalar),
        create_ui_to_fp=lambda self, a, to: made(a.data, to.scalar),
        create_fp_ext=resized,
        create_fp_trunc=resized,
        create_fp_to_fp=resized,
        create_masked_load=loaded,
        create_atomic_rmw=refused("an atomic operation"),
        get_fp32=constant,
        get_fp64=constant,
    ), replaced(interpreter.ReduceOps, sum=summed), replaced(
        interpreter.ScanOps, cumsum=scanned, cumprod=refused("a running product")
    ):  # fmt: skip
        yield met


def _bits(dtype: Any) -> int:
    return int(dtype.scalar.primitive_bitwidth)


def _check_width(dtype: Any) -> None:
    if _bits(dtype) < 32:
        raise NoPayloadError(f"a float of {dtype} holds no payload; allowed: fp32")


@contextmanager
def replaced(owner: Any, **members: Any) -> Iterator[None]:
    """Other members of a class of Triton's interpreter, which has to have them."""
    missing = [name for name in members if not hasattr(owner, name)]
    if missing:
        raise KernelError(
            f"this Triton's interpreter has no {owner.__name__}.{missing[0]}; 3.7 to 3.9 have"
        )
    with ExitStack() as stack:
        for name, member in members.items():
            stack.enter_context(patch.object(owner, name, member))
        yield


@contextmanager
def counted_descriptors() -> Iterator[list[Any]]:
    """The tensor descriptors that interpreted kernels make; a misaligned one raises."""
    from triton.runtime import interpreter

    made: list[Any] = []
    builder = interpreter.InterpreterBuilder
    original = builder.create_make_tensor_descriptor

    def counted(self: Any, *args: Any, **named: Any) -> Any:
        made.append(args[0] if args else None)
        return original(self, *args, **named)

    with replaced(builder, create_make_tensor_descriptor=counted):
        yield made
