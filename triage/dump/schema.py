"""Frozen dataclasses to plain lists and maps, and back with every type checked.

Used by the dump alone. The way in is lenient (of an object among a call's
arguments its class is kept, for the evidence around it matters more), the way
back strict: a field that is missing, of the wrong type or out of any sensible
size is a `SchemaError` that names its path. Fields that this version does not
know are ignored, so a later writer may add some.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

MAX_LISTED = 1024


class SchemaError(ValueError):
    """A value is not of the type that its field has; the text begins with the field's path."""


def to_plain(value: Any) -> Any:
    """Lists, maps, text, numbers and arrays only; of any other object its class."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return _plain_scalar(value)
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: to_plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return f"<{type(value).__name__}>"


def _plain_scalar(value: Any) -> Any:
    """The base type of an enum or of another subclass; an integer beyond 64 bits as text."""
    if type(value) is bool or value is None:
        return value
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 64 else str(value)
    if isinstance(value, float):
        return float(value)
    return str(value) if isinstance(value, str) else bytes(value)


def as_lists(plain: Any) -> Any:
    """`plain` with lists for its arrays; a long array as a sentence of what it is."""
    if isinstance(plain, np.ndarray):
        if plain.size > MAX_LISTED:
            return f"array of {plain.dtype}, shape {plain.shape}"
        return as_lists(plain.tolist())
    if isinstance(plain, dict):
        return {key: as_lists(value) for key, value in plain.items()}
    return [as_lists(value) for value in plain] if isinstance(plain, (list, tuple)) else plain


def from_plain(kind: Any, plain: Any, path: str) -> Any:
    """`plain` as a value of the annotated type `kind`."""
    if kind is Any or kind is object:
        return plain
    is_dataclass, origin = _form_of(kind)
    if is_dataclass:
        return _dataclass_from(kind, plain, path)
    if origin in (Union, types.UnionType):
        return _optional_from(kind, plain, path)
    if origin is tuple:
        return _tuple_from(kind, plain, path)
    if origin is dict:
        if type(plain) is not dict:
            raise SchemaError(f"{path} is not a map")
        item = get_args(kind)[1]
        return {key: from_plain(item, value, f"{path}.{key}") for key, value in plain.items()}
    if kind is float and type(plain) is int:
        return float(plain)
    if kind is np.ndarray:
        if not isinstance(plain, np.ndarray):
            raise SchemaError(f"{path} is not an array")
        return plain
    if type(plain) is not kind:
        raise SchemaError(f"{path} is {type(plain).__name__}, not {kind.__name__}")
    return plain


@functools.cache
def _form_of(kind: Any) -> tuple[bool, Any]:
    """Is it a dataclass, and its origin: asked of each of a dump's thousand values."""
    return dataclasses.is_dataclass(kind) and isinstance(kind, type), get_origin(kind)


@functools.cache
def _fields_of(kind: type) -> tuple[tuple[str, Any, bool], ...]:
    """Name, type and whether it must be there, for each field of a dataclass."""
    hints = get_type_hints(kind)
    return tuple(
        (
            field.name,
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    )


def _dataclass_from(kind: type, plain: Any, path: str) -> Any:
    if type(plain) is not dict:
        raise SchemaError(f"{path} is not a map")
    values = {}
    for name, hint, needed in _fields_of(kind):
        if name in plain:
            values[name] = from_plain(hint, plain[name], f"{path}.{name}")
        elif needed:
            raise SchemaError(f"{path} has no {name}")
    return kind(**values)


def _optional_from(kind: Any, plain: Any, path: str) -> Any:
    if plain is None and type(None) in get_args(kind):
        return None
    (inner,) = (arm for arm in get_args(kind) if arm is not type(None))
    return from_plain(inner, plain, path)


def _tuple_from(kind: Any, plain: Any, path: str) -> tuple[Any, ...]:
    if type(plain) is not list:
        raise SchemaError(f"{path} is not a list")
    arms = get_args(kind)
    if len(arms) == 2 and arms[1] is Ellipsis:
        arms = (arms[0],) * len(plain)
    if len(arms) != len(plain):
        raise SchemaError(f"{path} has {len(plain)} entries, not {len(arms)}")
    return tuple(
        from_plain(arm, item, f"{path}[{index}]")
        for index, (arm, item) in enumerate(zip(arms, plain, strict=True))
    )
