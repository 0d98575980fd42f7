"""msgpack for files from strangers: packing, unpacking, and the limits of both.

Maps, lists, text, numbers, bytes, and arrays as extension 1:
`[dtype, shape, stored_as, base, step, bytes]`. Integer arrays are stored as the
narrowest type that holds `(x - base) / step`; page starts are multiples of the
page size, so a table takes two bytes an entry.

A header is believed only after the bytes behind it were seen: a three-byte
header may claim 65,535 elements and they nest, so a decoder that allocates as
it reads can be made to take gigabytes by a small file.

Long because packing and unpacking share one format, and are changed together.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from triage.dump.dtypes import dtype_name, numpy_dtype
from triage.errors import DumpError

MAX_DEPTH = 12
MAX_NODES = 1 << 16  # values in one body, array elements not counted
MAX_FILE_NODES = 1 << 17  # in all bodies of a file: they are walked one by one
MAX_TEXT_BYTES = 1 << 20
MAX_ELEMENTS = 1 << 32
MAX_WIDENED_BYTES = 24 << 20  # what narrowed arrays of a file may take beyond their stored bytes
_PIECE = 1 << 16  # elements that are widened at a time
_COPIED_BYTES = 1 << 16  # an array below is copied once more, which is faster than looking

ARRAY_EXTENSION = 1
_ARRAY_CODE = bytes([ARRAY_EXTENSION])

Encoded = bytes | memoryview


@dataclass(slots=True)
class Budget:
    """What is left for the bodies of one file, whose headers alone could ask for more."""

    nodes: int = MAX_FILE_NODES
    widened_bytes: int = MAX_WIDENED_BYTES


def pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(
        value, default=_pack_array, strict_types=True, unicode_errors="backslashreplace"
    )
    return packed


def unpack(encoded: Encoded, what: str, budget: Budget | None = None) -> Any:
    """The value in `encoded`, arrays read-only where they were stored as they are.

    It allocates what headers claim, so whoever has the bytes from a file calls
    `check_structure` first.

    Args:
        what: name of the part, as the message prints it.
        budget: of the file that it is a part of.
    Raises:
        DumpError: for bytes that are not one msgpack value, a key that occurs twice in a
            map, an array that contradicts itself or is larger than the budget.
    """
    left = Budget() if budget is None else budget
    try:
        return msgpack.unpackb(
            encoded,
            object_pairs_hook=_unique_keys,
            ext_hook=lambda _code, payload: _unpack_array(payload, left),
            strict_map_key=True,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise DumpError(f"{what} is not valid: {error}") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key occurs twice in one map")
    return keys


def _pack_array(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise ValueError(f"a {type(value).__name__} has no place in a dump")
    name = dtype_name(value)
    array = np.ascontiguousarray(value, dtype=numpy_dtype(name)).reshape(value.shape)
    stored, base, step = _narrowed(array) if array.dtype.kind in "iu" else (array, 0, 1)
    fields = [name, list(array.shape), dtype_name(stored), base, step, stored.tobytes()]
    return msgpack.ExtType(ARRAY_EXTENSION, msgpack.packb(fields))


def _narrowed(array: np.ndarray) -> tuple[np.ndarray, int, int]:
    """`array == stored * step + base`, `stored` of the narrowest type that holds it."""
    if array.size == 0:
        return array, 0, 1
    base, top = int(array.min()), int(array.max())
    if top - base >= 1 << 63:
        return array, 0, 1
    shifted = array.astype(np.int64) - np.int64(base) if array.dtype != np.uint64 else array - base
    step = max(int(np.gcd.reduce(shifted.reshape(-1)[:4096].astype(np.int64))), 1)
    if step > 1 and (shifted % step).any():
        step = 1
    narrowest = np.min_scalar_type((top - base) // step)
    return np.asarray(shifted // step).astype(narrowest), base, step


def _unpack_array(payload: bytes, budget: Budget) -> np.ndarray:
    if len(payload) < _COPIED_BYTES:
        fields = msgpack.unpackb(payload, max_array_len=16, max_map_len=0, max_ext_len=0)
    else:
        check_structure(payload, "an array")
        fields = list(items(payload))
    match fields:
        case [name, shape, stored_as, base, step, (bytes() | memoryview()) as raw]:
            pass
        case _:
            raise ValueError("an array is not [dtype, shape, stored_as, base, step, bytes]")
    kinds = (type(name), type(shape), type(stored_as), type(base), type(step))
    if kinds != (str, list, str, int, int):
        raise ValueError("an array is not [dtype, shape, stored_as, base, step, bytes]")
    elements = 1
    for extent in shape:
        if type(extent) is not int or extent < 0:
            raise ValueError(f"an array has extent {extent!r:.40}, which is not a size")
        elements *= max(extent, 1)
    if len(shape) > 8 or elements > MAX_ELEMENTS:
        raise ValueError(
            f"an array of {len(shape)} dimensions and {elements} elements is larger than any dump "
            f"needs; allowed: 8 and {MAX_ELEMENTS}"
        )
    try:
        dtype, stored_dtype = numpy_dtype(name), numpy_dtype(stored_as)
    except KeyError as error:
        raise ValueError(f"array type {error} is not known") from error
    if 0 in shape:
        elements = 0
    if len(raw) != elements * stored_dtype.itemsize:
        raise ValueError(
            f"an array of shape {tuple(shape)} needs {elements * stored_dtype.itemsize} bytes as "
            f"{stored_as}, it has more or fewer bytes: {len(raw)}"
        )
    stored = np.frombuffer(raw, dtype=stored_dtype).reshape(shape)
    if (stored_as, base, step) == (name, 0, 1):
        return stored
    return _widened(stored, dtype, base, step, budget)


def _widened(
    stored: np.ndarray, dtype: np.dtype, base: int, step: int, budget: Budget
) -> np.ndarray:
    if dtype.kind not in "iu" or stored.dtype.kind != "u":
        raise ValueError(
            f"only integer arrays are narrowed, to unsigned integers; {dtype} is stored as "
            f"{stored.dtype}"
        )
    if not 1 <= step < 1 << 63:
        raise ValueError(f"an array has step {step}; allowed: [1, 2**63)")
    limits = np.iinfo(dtype)
    top = int(stored.max(initial=0)) * step + base
    if base < limits.min or top > limits.max:
        raise ValueError(f"a narrowed array does not fit {dtype}: it reaches from {base} to {top}")
    size = stored.size * dtype.itemsize
    budget.widened_bytes -= max(size - stored.nbytes, 0)
    if budget.widened_bytes < 0:
        raise ValueError(
            f"its arrays unfold to over {MAX_WIDENED_BYTES >> 20} MiB more than they are stored "
            "in, which no dump does"
        )
    wide = np.uint64 if dtype == np.uint64 else np.int64
    values, flat = np.empty(stored.shape, dtype=dtype), stored.reshape(-1)
    for start in range(0, stored.size, _PIECE):
        piece = flat[start : start + _PIECE].astype(wide) * wide(step) + wide(base)
        values.reshape(-1)[start : start + _PIECE] = piece.astype(dtype)
    return values


_SIZED = {
    # leading byte -> (struct of the length, kind)
    0xC4: (">B", "bytes"), 0xC5: (">H", "bytes"), 0xC6: (">I", "bytes"),
    0xC7: (">B", "extension"), 0xC8: (">H", "extension"), 0xC9: (">I", "extension"),
    0xD9: (">B", "text"), 0xDA: (">H", "text"), 0xDB: (">I", "text"),
    0xDC: (">H", "array"), 0xDD: (">I", "array"), 0xDE: (">H", "map"), 0xDF: (">I", "map"),
}  # fmt: skip
_FIXED_BYTES = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8,
    0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
}  # fmt: skip
_FIXED_EXTENSIONS = {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}  # the code's byte included


def check_structure(encoded: Encoded, what: str, budget: Budget | None = None) -> None:
    """Walk the headers of one msgpack value without building anything.

    A three-byte header may claim 65,535 elements and they nest, so a decoder
    that allocates as it reads can be made to take gigabytes by a small file.

    Raises:
        DumpError: it is cut, goes on behind its end, or holds more than any dump needs.
    """
    position, nodes = 0, 0
    allowed = MAX_NODES if budget is None else min(MAX_NODES, budget.nodes)
    pending = [1]  # values still to come at each depth
    while pending:
        if pending[-1] == 0:
            pending.pop()
            continue
        pending[-1] -= 1
        nodes += 1
        if position >= len(encoded):
            raise DumpError(f"{what} ends early: the file is cut")
        kind, length, position = header(encoded, position, what)
        if kind in ("array", "map"):
            children = length * 2 if kind == "map" else length
            if children > len(encoded) - position:
                raise DumpError(f"{what} ends early: a list claims more than the file has")
            pending.append(children)
        else:
            if kind == "text" and length > MAX_TEXT_BYTES:
                raise DumpError(f"{what} holds a text of {length} bytes")
            if kind == "extension" and encoded[position : position + 1] != _ARRAY_CODE:
                raise DumpError(f"{what} holds an extension that is not an array")
            position += length
        if len(pending) > MAX_DEPTH or nodes > allowed:
            raise DumpError(f"{what} holds more values, or deeper ones, than any dump needs")
    if position > len(encoded):
        raise DumpError(f"{what} ends early: the file is cut")
    if position < len(encoded):
        raise DumpError(f"{what} has {len(encoded) - position} bytes after its end")
    if budget is not None:
        budget.nodes -= nodes


def items(encoded: Encoded) -> Iterator[Any]:
    """The elements of the array that `encoded` is, bytes as views of it: nothing is copied.

    Raises:
        DumpError: it is no array. Its structure was checked before.
    """
    view = memoryview(encoded)
    kind, count, position = header(view, 0, "a list")
    if kind != "array":
        raise DumpError("a list was expected")
    for _ in range(count):
        begin = position
        kind, length, position = header(view, begin, "a list")
        if kind in ("array", "map"):
            position = end_of(view, begin)
        else:
            position += length
        if kind == "bytes":
            yield view[position - length : position]
        elif kind == "array" and position - begin > MAX_TEXT_BYTES:
            raise DumpError("a list holds a longer one than any dump needs")
        else:
            yield unpack(view[begin:position], "a list")


def end_of(view: memoryview, position: int) -> int:
    """Where the value that begins at `position` ends."""
    pending = 1
    while pending:
        kind, length, position = header(view, position, "a list")
        pending -= 1
        if kind == "array":
            pending += length
        elif kind == "map":
            pending += 2 * length
        else:
            position += length
    return position


def header(encoded: Encoded, position: int, what: str) -> tuple[str, int, int]:
    """Kind and length of the value at `position`, and where its contents begin."""
    lead = encoded[position]
    position += 1
    if lead <= 0x7F or lead >= 0xE0:  # these and short texts are three of four values of a dump
        return "scalar", 0, position
    if 0xA0 <= lead <= 0xBF:
        return "text", lead & 0x1F, position
    if lead in _SIZED:
        layout, kind = _SIZED[lead]
        width = struct.calcsize(layout)
        if position + width > len(encoded):
            raise DumpError(f"{what} ends early: the file is cut")
        (length,) = struct.unpack_from(layout, encoded, position)
        return kind, length + (kind == "extension"), position + width
    if lead in _FIXED_EXTENSIONS:
        return "extension", _FIXED_EXTENSIONS[lead], position
    if lead in _FIXED_BYTES:
        return "scalar", _FIXED_BYTES[lead], position
    if lead <= 0x8F:
        return "map", lead & 0x0F, position
    if lead <= 0x9F:
        return "array", lead & 0x0F, position
    raise DumpError(f"{what} is not valid msgpack")
