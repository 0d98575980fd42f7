"""Triton's interpreter without the work it repeats at every launch and operation.

For each launch, and for each device function called in it, the interpreter looks
through all members of `triton.language` for those it must patch; each operation makes
its table of NumPy dtypes, and the shape of its result, anew; and each integer
operation works out an overflow condition for a `device_assert` that only a debug
build makes. Together that is more than half of what an interpreted kernel of SGLang
costs. Here the answers are remembered, and the condition nobody looks at is left out.
What is patched, with what and for how long stays Triton's own, and so do the kernels.

One failure is mended: Triton before 3.7 makes an index of a tensor by `int` of an array of one
dimension, which NumPy refuses from 2.4 on, so that no loop over a loaded bound runs.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

_found: dict[int, tuple[Any, list[tuple[str, Any]]]] = {}
_shapes: dict[tuple[int, ...], tuple[Any, Any]] = {}


def speed_up() -> None:
    """Put the remembering versions in place. Idempotent; needs TRITON_INTERPRET=1."""
    from triton.language import core
    from triton.runtime import interpreter

    if interpreter._patch_builtin is _patch_builtin:
        return
    interpreter._patch_builtin = _patch_builtin
    interpreter._get_np_dtype = _np_dtypes(interpreter._get_np_dtype)
    interpreter._patch_lang_tensor = _with_index(interpreter._patch_lang_tensor)
    core.tensor.__init__ = _tensor_init
    core.block_type.with_element_ty = _with_element_ty(core.block_type.with_element_ty)
    builder = interpreter.interpreter_builder
    if not builder.options.debug:
        builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)


def _patch_builtin(package: Any, builder: Any, scope: Any) -> None:
    """Triton's, but for the search: a member that is patched already is left, as there."""
    from triton.runtime import interpreter

    for name, member in _builtins_of(package):
        if getattr(package, name) is member:
            interpreter._patch_attr(package, name, member, builder, scope)


def _with_index(original: Any) -> Any:
    """`original`, and an index made of an array's one element, whatever its dimensions."""

    def patch_lang_tensor(tensor: Any, *scope: Any) -> None:
        original(tensor, *scope)
        tensor.__index__ = _index

    return patch_lang_tensor


def _index(tensor: Any) -> int:
    return int(tensor.handle.data.item())


def _builtins_of(package: Any) -> list[tuple[str, Any]]:
    """The members marked as builtins, searched for at the first call, before any is patched."""
    from triton import language

    known = _found.get(id(package))
    if known is None:
        members = inspect.getmembers(package)
        marked = [(name, member) for name, member in members if language.core.is_builtin(member)]
        known = _found[id(package)] = (package, marked)
    return known[1]


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
