"""The dump file: writer and reader of `triage.record.Dump`.

A dump is written by a process that is about to die and read by a stranger's
laptop, so: one file, whole or absent (temporary name, fsync, rename, fsync of
the directory), and a reader that believes nothing it reads. The file is valid
msgpack as a whole::

    [MAGIC, FORMAT_VERSION, [name, required, crc32, body], ...]

`body` is msgpack too. Numbers, text, lists and maps are all it can hold, plus
arrays as extension 1 (`[dtype, shape, stored_as, base, step, bytes]`); nothing
in it names code. A section that this reader does not know is kept undecoded,
unless the writer marked it as required.

Integer arrays are stored as the narrowest type that holds `(x - base) / step`:
page starts are multiples of the page size, so a 64-row table takes two bytes
an entry.
"""

from __future__ import annotations

import os
import stat
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from triage.agreement import check_agreement
from triage.dtypes import dtype_name, numpy_dtype
from triage.errors import DumpError
from triage.evidence import Evidence
from triage.record import Backend, Dump, Launch, Pools, Tables
from triage.schema import SchemaError, from_plain, to_plain

MAGIC = "sglang-triage-dump"
FORMAT_VERSION = 1

MAX_FILE_BYTES = 1 << 30  # a dump with the KV pages of one launch; without them it is under 1 MB
MAX_SECTIONS = 64
MAX_DEPTH = 12
MAX_NODES = 1 << 16  # values in one section, array elements not counted
MAX_TEXT_BYTES = 1 << 20
MAX_ELEMENTS = 1 << 32
MAX_HISTORY = 1024  # newest launches kept of the flight recorder

ARRAY_EXTENSION = 1
_ARRAY_CODE = bytes([ARRAY_EXTENSION])

_SECTIONS: dict[str, tuple[Any, bool]] = {
    "fault": (Evidence, True),
    "launch": (Launch, True),
    "tables": (Tables, True),
    "pools": (Pools, True),
    "backend": (Backend, True),
    "history": (tuple[dict[str, Any], ...], False),
    "provenance": (dict[str, Any], False),
    "kv": (dict[str, np.ndarray], False),
}
"""Section name -> its type, and whether a reader that does not know it must refuse the file."""


def write_dump(dump: Dump, directory: Path, *, name: str | None = None) -> Path:
    """Write `dump` durably into `directory` (created 0700) and return its path.

    The file appears under its name only when it is whole; after a failure
    neither it nor the temporary one is left. A file of the same explicit
    `name` is replaced, the default name is one that is free.

    Raises:
        DumpError: with the reason; nothing of the caller's state has changed.
    """
    encoded = encode(dump)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = directory / (name or _free_name(dump, directory))
        temporary = directory / f".{target.name}.{os.getpid()}.partial"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(directory)
    except OSError as error:
        raise DumpError(f"cannot write a dump into {directory}: {_reason(error)}") from error
    return target


def read_dump(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> Dump:
    """Read one dump file.

    Raises:
        DumpError: one sentence saying what the file is instead.
    """
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise DumpError(f"{path} is not a regular file")
            head = file.read(64)
            _check_opening(head, str(path))
            if facts.st_size > max_bytes:
                raise DumpError(
                    f"{path} has {facts.st_size} bytes, this reader accepts {max_bytes}"
                )
            encoded = head + file.read(max(facts.st_size - len(head), 0))
    except OSError as error:
        raise DumpError(f"cannot read {path}: {_reason(error)}") from error
    try:
        return decode(encoded)
    except DumpError as error:
        raise DumpError(f"{path}: {error}") from error


def encode(dump: Dump) -> bytes:
    """The bytes of a dump file; DumpError if a part of `dump` has no place in one."""
    values: dict[str, Any] = {
        name: getattr(dump, name) for name in _SECTIONS if getattr(dump, name) not in (None, (), {})
    }
    history = values.pop("history", ())
    sections = []
    check_agreement(dump)
    try:
        for name, value in values.items():
            body = _pack(to_plain(value))
            _check_structure(body, name)
            sections.append(_section(name, _SECTIONS[name][1], body))
        if history:
            name = "history"
            sections.append(_section(name, False, _newest_that_fit(history)))
    except (SchemaError, KeyError, OverflowError, ValueError) as error:
        raise DumpError(f"section {name} cannot be stored: {error}") from error
    sections += [_section(name, False, body) for name, body in dump.extra.items()]
    return _pack([MAGIC, FORMAT_VERSION, *sections])


def _newest_that_fit(history: tuple[dict[str, Any], ...]) -> bytes:
    """The section's body: rather fewer old launches than no dump."""
    kept = history[-MAX_HISTORY:]
    while True:
        body = _pack(to_plain(kept))
        try:
            _check_structure(body, "history")
        except DumpError:
            if len(kept) <= 1:
                raise
            kept = kept[-(len(kept) // 2) :]
        else:
            return body


def decode(encoded: bytes) -> Dump:
    """The dump in `encoded`; DumpError, and nothing else, for anything that is not one."""
    _check_opening(encoded[:64], "this")
    _check_structure(encoded, "file")
    outer = _unpack(encoded, "file")
    sections: dict[str, Any] = {}
    extra: dict[str, bytes] = {}
    for name, required, body in map(_checked_section, outer[2:]):
        if name in sections or name in extra:
            raise DumpError(f"section {name} occurs twice")
        if name not in _SECTIONS:
            if required:
                raise DumpError(f"section {name} is needed to read this dump and not known here")
            extra[name] = body
            continue
        _check_structure(body, name)
        try:
            sections[name] = from_plain(_SECTIONS[name][0], _unpack(body, name), name)
        except SchemaError as error:
            raise DumpError(f"section {error}") from error
    if "fault" not in sections:
        raise DumpError("the dump has no section fault")
    dump = Dump(**sections, extra=extra, format_version=outer[1])
    check_agreement(dump)
    return dump


# --- opening and sections -------------------------------------------------------------------


def _check_opening(head: bytes, what: str) -> None:
    """Magic and version before anything else, so that a stranger is named as one."""
    unpacker = msgpack.Unpacker(max_buffer_size=64, strict_map_key=True)
    unpacker.feed(head)
    try:
        count = unpacker.read_array_header()
        magic, version = unpacker.unpack(), unpacker.unpack()
    except (ValueError, msgpack.UnpackException, RecursionError):
        count, magic, version = 0, None, None
    if magic != MAGIC or type(version) is not int:
        hint = "; it looks like a torch.save file" if head[:4] == b"PK\x03\x04" else ""
        raise DumpError(f"{what} is not an sglang-triage dump{hint}")
    if version != FORMAT_VERSION:
        raise DumpError(
            f"{what} has dump format {version} and this triage reads format {FORMAT_VERSION}; "
            "a newer sglang-triage may read it"
        )
    if not 2 <= count <= 2 + MAX_SECTIONS:
        raise DumpError(f"{what} claims {count - 2} sections, at most {MAX_SECTIONS} are allowed")


def _section(name: str, required: bool, body: bytes) -> list[Any]:
    return [name, required, _checksum(name, required, body), body]


def _checksum(name: str, required: bool, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(name.encode(), int(required)))


def _checked_section(section: Any) -> tuple[str, bool, bytes]:
    match section:
        case [str(name), bool(required), int(checksum), bytes(body)]:
            if _checksum(name, required, body) != checksum:
                raise DumpError(f"section {name} is damaged (its checksum differs)")
            return name, required, body
    raise DumpError("a section is not [name, required, checksum, bytes]")


# --- msgpack with limits --------------------------------------------------------------------


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(
        value, default=_pack_array, strict_types=True, unicode_errors="backslashreplace"
    )
    return packed


def _unpack(encoded: bytes, what: str) -> Any:
    try:
        return msgpack.unpackb(
            encoded, object_pairs_hook=_unique_keys, ext_hook=_unpack_array, strict_map_key=True
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


def _unpack_array(_code: int, payload: bytes) -> np.ndarray:
    match msgpack.unpackb(payload, max_array_len=16, max_map_len=0, max_ext_len=0):
        case [str(name), list(shape), str(stored_as), int(base), int(step), bytes(raw)]:
            pass
        case _:
            raise ValueError("an array is not [dtype, shape, stored_as, base, step, bytes]")
    elements = 1
    for extent in shape:
        if type(extent) is not int or extent < 0:
            raise ValueError("an array has an extent that is not a size")
        elements *= max(extent, 1)
    if len(shape) > 8 or elements > MAX_ELEMENTS:
        raise ValueError("an array is larger than any dump needs")
    try:
        dtype, stored_dtype = numpy_dtype(name), numpy_dtype(stored_as)
    except KeyError as error:
        raise ValueError(f"array type {error} is not known") from error
    if 0 in shape:
        elements = 0
    if len(raw) != elements * stored_dtype.itemsize:
        raise ValueError("an array has more or fewer bytes than its shape")
    stored = np.frombuffer(raw, dtype=stored_dtype).reshape(shape)
    if (stored_as, base, step) == (name, 0, 1):
        return stored
    return _widened(stored, dtype, base, step)


def _widened(stored: np.ndarray, dtype: np.dtype, base: int, step: int) -> np.ndarray:
    if dtype.kind not in "iu" or stored.dtype.kind != "u" or step < 1:
        raise ValueError("only integer arrays are narrowed")
    limits = np.iinfo(dtype)
    top = int(stored.max(initial=0)) * step + base
    if base < limits.min or top > limits.max:
        raise ValueError("a narrowed array does not fit its type")
    wide = np.uint64 if dtype == np.uint64 else np.int64
    scaled = stored.astype(wide) * wide(step) + wide(base)
    return np.asarray(scaled.astype(dtype))


# --- structure: every header is believed only after the bytes behind it were seen -------------

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


def _check_structure(encoded: bytes, what: str) -> None:
    """Walk the headers of one msgpack value without building anything.

    A three-byte header may claim 65,535 elements and they nest, so a decoder
    that allocates as it reads can be made to take gigabytes by a small file.
    """
    position, nodes = 0, 0
    pending = [1]  # values still to come at each depth
    while pending:
        if pending[-1] == 0:
            pending.pop()
            continue
        pending[-1] -= 1
        nodes += 1
        if position >= len(encoded):
            raise DumpError(f"{what} ends early: the file is cut")
        kind, length, position = _header(encoded, position, what)
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
        if len(pending) > MAX_DEPTH or nodes > MAX_NODES:
            raise DumpError(f"{what} holds more values, or deeper ones, than any dump needs")
    if position > len(encoded):
        raise DumpError(f"{what} ends early: the file is cut")
    if position < len(encoded):
        raise DumpError(f"{what} has {len(encoded) - position} bytes after its end")


def _header(encoded: bytes, position: int, what: str) -> tuple[str, int, int]:
    """Kind and length of the value at `position`, and where its contents begin."""
    lead = encoded[position]
    position += 1
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
    if lead <= 0x7F or lead >= 0xE0:
        return "scalar", 0, position
    if lead <= 0x8F:
        return "map", lead & 0x0F, position
    if lead <= 0x9F:
        return "array", lead & 0x0F, position
    if lead <= 0xBF:
        return "text", lead & 0x1F, position
    raise DumpError(f"{what} is not valid msgpack")


# --- files ------------------------------------------------------------------------------------


def _free_name(dump: Dump, directory: Path) -> str:
    launch = "" if dump.launch is None else f"-launch{dump.launch.launch_id}"
    stem = f"{time.strftime('%Y%m%dT%H%M%S')}-{dump.fault.invariant}{launch}-pid{os.getpid()}"
    name, copies = f"{stem}.msgpack", 1
    while (directory / name).exists():
        copies += 1
        name = f"{stem}-{copies}.msgpack"
    return name


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
