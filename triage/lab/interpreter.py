"""Triton's interpreter without the work it repeats at every launch and operation.

For each launch, and for each device function called in it, the interpreter looks
through all members of `triton.language` for those it must patch; each operation makes
its table of NumPy dtypes, and the shape of its result, anew, and finds out how to bring
two operands of one type and shape to one type and shape; and each integer operation
works out an overflow condition for a `device_assert` that only a debug build makes.
Together that is more than half of what an interpreted kernel of SGLang costs. Here the
answers are remembered, a device function finds patched what its kernel's launch patched,
operands that are alike are left as they are, and the condition nobody looks at is left out.
What is patched, with what and for how long stays Triton's own, and so do the kernels.

One failure is mended: Triton before 3.7 makes an index of a tensor by `int` of an array of one
dimension, which NumPy refuses from 2.4 on, so that no loop over a loaded bound runs.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

_found: dict[int, tuple[Any, list[tuple[str, Any, Any]]]] = {}
_shapes: dict[tuple[int, ...], tuple[Any, Any]] = {}


def speed_up() -> None:
    """Put the remembering versions in place. Idempotent; needs TRITON_INTERPRET=1."""
    from triton.language import core
    from triton.language import semantic as language_semantic
    from triton.runtime import interpreter

    if interpreter._patch_builtin is _patch_builtin:
        return
    interpreter._patch_builtin = _patch_builtin
    interpreter._patch_lang = _patched_once(interpreter._patch_lang)
    interpreter._get_np_dtype = _np_dtypes(interpreter._get_np_dtype)
    interpreter._patch_lang_tensor = _with_index(interpreter._patch_lang_tensor)
    core.tensor.__init__ = _tensor_init
    core.block_type.with_element_ty = _with_element_ty(core.block_type.with_element_ty)
    semantic = getattr(language_semantic, "TritonSemantic", None)  # not before 3.5
    if semantic is not None:
        semantic.broadcast_impl_value = _broadcast(semantic.broadcast_impl_value)
        semantic.binary_op_type_checking_impl = _type_checking(
            semantic.binary_op_type_checking_impl
        )
    builder = interpreter.interpreter_builder
    if not builder.options.debug:
        builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)


def _patch_builtin(package: Any, builder: Any, scope: Any) -> None:
    """Triton's, but for the search: a member that is patched already is left, as there."""
    from triton.runtime import interpreter

    for name, member, given in _builtins_of(package):
        if getattr(package, name) is member:
            if given is None:
                interpreter._patch_attr(package, name, member, builder, scope)
            else:
                scope.set_attr(package, name, given)


def _patched_once(original: Any) -> Any:
    """`original`, but for a device function called in a kernel for which this launch has patched
    all that it sees: nothing is restored before the launch ends."""
    import triton.language as tl

    nothing = SimpleNamespace(restore=lambda: None)
    in_force: set[int] = set()

    def patch_lang(fn: Any) -> Any:
        wanted = {id(each) for each in fn.__globals__.values() if each is tl or each is tl.core}
        if wanted and wanted <= in_force:
            return nothing
        scope = original(fn)
        if in_force:  # Triton does not restore it either
            in_force.update(wanted)
        elif hasattr(scope, "restore"):
            restore = scope.restore

            def ended() -> None:
                in_force.clear()
                restore()

            in_force.update(wanted)
            scope.restore = ended
        return scope

    return patch_lang


def _with_index(original: Any) -> Any:
    """`original`, and an index made of an array's one element, whatever its dimensions."""

    def patch_lang_tensor(tensor: Any, *scope: Any) -> None:
        original(tensor, *scope)
        tensor.__index__ = _index

    return patch_lang_tensor


def _index(tensor: Any) -> int:
    return int(tensor.handle.data.item())


def _builtins_of(package: Any) -> list[tuple[str, Any, Any]]:
    """The members marked as builtins and what stands for each, searched for at the first call,
    before any is patched."""
    from triton import language

    known = _found.get(id(package))
    if known is None:
        members = inspect.getmembers(package)
        marked = [
            (name, member, _given(member))
            for name, member in members
            if language.core.is_builtin(member)
        ]
        known = _found[id(package)] = (package, marked)
    return known[1]


def _given(member: Callable[..., Any]) -> Callable[..., Any] | None:
    """`member` with the interpreter's semantic, made once; None where Triton has no such thing."""
    from triton.runtime import interpreter

    semantic = getattr(interpreter, "interpreter_semantic", None)
    if semantic is None:
        return None

    def given(*args: Any, **kwargs: Any) -> Any:
        kwargs["_semantic"] = semantic
        return member(*args, **kwargs)

    return given


def _broadcast(original: Any) -> Any:
    """`original`, unless both are of one shape, of which there is one object."""

    def broadcast_impl_value(self: Any, lhs: Any, rhs: Any) -> Any:
        if lhs.shape is rhs.shape:
            return lhs, rhs
        return original(self, lhs, rhs)

    return broadcast_impl_value


def _type_checking(original: Any) -> Any:
    """`original`, but for integers of one type, and an `int` that such a type holds."""
    from triton.language import core

    holds: dict[str, tuple[int, int]] = {}
    for kind in (*core.dtype.SINT_TYPES, *core.dtype.UINT_TYPES):
        if kind != "int1":  # a bool beside an `int` is promoted
            dtype = core.dtype(kind)
            holds[kind] = dtype.get_int_min_value(), dtype.get_int_max_value()
    nothing = (1, 0)

    def binary_op_type_checking_impl(
        self: Any, lhs: Any, rhs: Any, *args: Any, **kwargs: Any
    ) -> Any:
        ours, theirs = type(lhs) is core.tensor, type(rhs) is core.tensor
        if ours and theirs:
            if lhs.dtype.name in holds and lhs.dtype.name == rhs.dtype.name:
                return self.broadcast_impl_value(lhs, rhs)
        elif ours and type(rhs) is int:
            least, most = holds.get(lhs.dtype.name, nothing)
            if least <= rhs <= most:
                return self.broadcast_impl_value(lhs, self.scalar_constant(rhs, lhs.dtype))
        elif theirs and type(lhs) is int:
            least, most = holds.get(rhs.dtype.name, nothing)
            if least <= lhs <= most:
                return self.broadcast_impl_value(self.scalar_constant(lhs, rhs.dtype), rhs)
        return original(self, lhs, rhs, *args, **kwargs)

    return binary_op_type_checking_impl


def _np_dtypes(original: Any) -> Any:
    """`original` asked once per element type: a block has the dtype of its elements."""
    from triton import language as tl

    seen: dict[Any, Any] = {}

    def np_dtype(kind: Any) -> Any:
        scalar = kind.element_ty if isinstance(kind, tl.block_type) else kind
        if isinstance(scalar, tl.pointer_type):
            return original(scalar)
        found = seen.get(scalar)
        if found is None:
            found = seen[scalar] = original(scalar)
        return found

    return np_dtype


def _tensor_init(self: Any, handle: Any, type: Any) -> None:
    """`tensor.__init__` with one shape object per shape."""
    self.handle = handle
    self.type = type
    self.dtype = type.scalar
    sizes = tuple(type.shape.values) if type.is_block() else ()
    known = _shapes.get(sizes)
    if known is None:
        known = _shapes[sizes] = _shape(sizes)
    self.shape, self.numel = known


def _shape(sizes: tuple[int, ...]) -> tuple[Any, Any]:
    from triton.language import core

    return core.tuple([core.constexpr(size) for size in sizes]), core.constexpr(math.prod(sizes))


def _with_element_ty(original: Any) -> Any:
    """One block type per element type and shape."""
    seen: dict[Any, Any] = {}

    def with_element_ty(self: Any, scalar: Any) -> Any:
        if scalar.is_ptr():
            return original(self, scalar)
        key = (scalar.name, tuple(self.shape.values))
        found = seen.get(key)
        if found is None:
            found = seen[key] = original(self, scalar)
        return found

    return with_element_ty
