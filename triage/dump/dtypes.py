"""Element types that numpy does not have: bfloat16 and the fp8 family.

Such an array is kept as its raw storage under a one-field structured dtype
whose field name is the type: `np.dtype([("bfloat16", "<u2")])`. Its shape,
slicing and equality are numpy's own, and nobody can add two of them by
mistake. `to_float32` is exact for every type here.
"""

from __future__ import annotations

import numpy as np

RAW_STORAGE = {
    "bfloat16": "<u2",
    "float8_e4m3fn": "|u1",
    "float8_e5m2": "|u1",
    "float8_e4m3fnuz": "|u1",
    "float8_e5m2fnuz": "|u1",
}
"""Type name -> the numpy dtype of its storage."""

PLAIN = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
        *("float16", "float32", "float64"),
    )
}
"""Type name -> numpy dtype, little-endian whatever the machine."""


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype that holds elements of type `name`; KeyError for a type we do not store."""
    if name in RAW_STORAGE:
        return np.dtype([(name, RAW_STORAGE[name])])
    return PLAIN[name]


def dtype_name(array: np.ndarray) -> str:
    """The type name of an array built here or by numpy; KeyError for a type we do not store."""
    if array.dtype.names is not None:
        name = array.dtype.names[0]
        if array.dtype != numpy_dtype(name):
            raise KeyError(str(array.dtype))
        return name
    if array.dtype.name not in PLAIN:
        raise KeyError(str(array.dtype))
    return array.dtype.name


def from_raw(name: str, raw: np.ndarray) -> np.ndarray:
    """`raw` (unsigned integers of the type's width) seen as elements of type `name`."""
    return np.ascontiguousarray(raw).view(numpy_dtype(name))


def to_float32(array: np.ndarray) -> np.ndarray:
    """The values of a float array of any stored type. Exact, except float64."""
    name = dtype_name(array)
    if name not in RAW_STORAGE:
        return array.astype(np.float32)
    raw = array[name]
    if name == "bfloat16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return _fp8_values(name)[raw]


def _fp8_values(name: str) -> np.ndarray:
    """All 256 values of an fp8 type.

    The `fnuz` types have no negative zero (0x80 is NaN), a bias one larger and
    no infinities; e4m3fn spends only the all-ones pattern on NaN; e5m2 is IEEE.
    """
    exponent_bits, mantissa_bits = (4, 3) if "e4m3" in name else (5, 2)
    unsigned_zero = name.endswith("fnuz")
    bias = (1 << (exponent_bits - 1)) - 1 + unsigned_zero
    code = np.arange(256)
    sign = np.where(code & 0x80, -1.0, 1.0)
    exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1)
    fraction = (code & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    values = sign * np.where(
        exponent == 0,
        fraction * 2.0 ** (1 - bias),
        (1 + fraction) * 2.0 ** (exponent - bias),
    )
    if unsigned_zero:
        values[0x80] = np.nan
    elif name == "float8_e4m3fn":
        values[[0x7F, 0xFF]] = np.nan
    else:
        infinite = exponent == (1 << exponent_bits) - 1
        values[infinite] = np.where(fraction[infinite] == 0, sign[infinite] * np.inf, np.nan)
    return values.astype(np.float32)
