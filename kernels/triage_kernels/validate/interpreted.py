"""What Triton's sanitizers look for, looked for in Triton's interpreter: no GPU, any Triton.

- `exact_arithmetic`: FPSan's idea, over the ring of `payloads`. Kernels of fp32 alone: a
  narrower type could not hold a payload, and there is nothing to round.
- `watched_memory`: GSan's, two programs of a launch at one address of which one writes, and an
  access outside every tensor of the launch, which GSan leaves to others. Programs of one
  launch are never ordered here, so what a kernel orders by atomics is not looked at.
- `counted_descriptors`: IISan's. The interpreter asserts their alignment itself.

Each changes Triton's interpreter while it is active, for the whole process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
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

    with _replaced(
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
    ), _replaced(interpreter.ReduceOps, sum=summed), _replaced(
        interpreter.ScanOps, cumsum=scanned, cumprod=refused("a running product")
    ):  # fmt: skip
        yield met


def _bits(dtype: Any) -> int:
    return int(dtype.scalar.primitive_bitwidth)


def _check_width(dtype: Any) -> None:
    if _bits(dtype) < 32:
        raise NoPayloadError(f"a float of {dtype} holds no payload; allowed: fp32")


@contextmanager
def _replaced(owner: Any, **members: Any) -> Iterator[None]:
    missing = [name for name in members if not hasattr(owner, name)]
    if missing:
        raise KernelError(
            f"this Triton's interpreter has no {owner.__name__}.{missing[0]}; 3.7 to 3.9 have"
        )
    with ExitStack() as stack:
        for name, member in members.items():
            stack.enter_context(patch.object(owner, name, member))
        yield


@dataclass
class Memory:
    """What the launches under `watched_memory` did.

    Attributes:
        findings: a sentence for each kind of wrong access, at its first address.
    """

    launches: int = 0
    programs: int = 0
    accesses: int = 0
    findings: list[str] = field(default_factory=list)


@contextmanager
def watched_memory() -> Iterator[Memory]:
    """Watch the global memory of interpreted launches: see the module's first lines."""
    from triton.runtime import interpreter

    seen = Memory()
    log: list[tuple[bool, int, Any, int]] = []  # written, program, addresses, bytes of each
    storages: list[tuple[int, int]] = []
    builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
    load, store, run = builder.create_masked_load, builder.create_masked_store, executor.__call__

    def note(self: Any, written: bool, ptrs: Any, mask: Any) -> bool:
        where = np.broadcast_to(mask.data, np.broadcast_shapes(ptrs.data.shape, mask.data.shape))
        at = np.unique(np.broadcast_to(ptrs.data, where.shape)[where.astype(bool)])
        x, y, z = self.grid_idx
        _, ny, nz = self.grid_dim
        size = max(1, ptrs.get_element_ty().primitive_bitwidth // 8)
        log.append((written, (x * ny + y) * nz + z, at.astype(np.int64), size))
        return _inside(at.astype(np.int64), size, storages, written, seen)

    def loaded(self: Any, ptrs: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        if not note(self, False, ptrs, mask):
            raise KernelError(seen.findings[-1])
        return load(self, ptrs, mask, *rest, **named)

    def stored(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        if not note(self, True, ptrs, mask):
            raise KernelError(seen.findings[-1])
        return store(self, ptrs, value, mask, *rest, **named)

    def launched(self: Any, *args: Any, **named: Any) -> Any:
        log.clear()
        storages[:] = _storages((*args, *named.values()))
        seen.launches += 1
        result = run(self, *args, **named)
        seen.programs += len({program for _, program, _, _ in log})
        seen.accesses += sum(len(at) for _, _, at, _ in log)
        race = _race(log)
        if race:
            seen.findings.append(race)
        return result

    with (
        _replaced(builder, create_masked_load=loaded, create_masked_store=stored),
        _replaced(executor, __call__=launched),
    ):
        yield seen


def _storages(values: tuple[Any, ...]) -> list[tuple[int, int]]:
    found = []
    for value in values:
        if isinstance(value, tuple):
            found += _storages(value)
        elif isinstance(value, Tensor):
            storage = value.untyped_storage()
            found.append((storage.data_ptr(), storage.data_ptr() + storage.nbytes()))
    return found


def _inside(
    at: Any, size: int, storages: list[tuple[int, int]], written: bool, seen: Memory
) -> bool:
    known = np.zeros(at.shape, dtype=bool)
    for first, end in storages:
        known |= (at >= first) & (at + size <= end)
    if known.all():
        return True
    verb = "written" if written else "read"
    seen.findings.append(
        f"{int((~known).sum())} addresses {verb} outside every tensor of the launch"
    )
    return False


def _race(log: list[tuple[bool, int, Any, int]]) -> str | None:
    """Two programs at one address, of which one writes; None where there are none."""
    if not log:
        return None
    at = np.concatenate([a for _, _, a, _ in log])
    program = np.concatenate([np.full(len(a), p) for _, p, a, _ in log])
    written = np.concatenate([np.full(len(a), w) for w, _, a, _ in log])
    order = np.argsort(at, kind="stable")
    at, program, written = at[order], program[order], written[order]
    starts = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
    apart = np.maximum.reduceat(program, starts) != np.minimum.reduceat(program, starts)
    racing = apart & np.logical_or.reduceat(written, starts) if len(at) else np.zeros(0, bool)
    if not racing.any():
        return None
    first = starts[np.flatnonzero(racing)[0]]
    ends = np.r_[starts[1:], len(at)]
    members = slice(first, ends[np.flatnonzero(racing)[0]])
    writers = sorted(set(program[members][written[members]].tolist()))
    others = sorted(set(program[members].tolist()) - set(writers[:1]))
    return (
        f"a race at {int(racing.sum())} addresses: the first is written by program {writers[0]} "
        f"and used by program {others[0]}"
    )


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

    with _replaced(builder, create_make_tensor_descriptor=counted):
        yield made
