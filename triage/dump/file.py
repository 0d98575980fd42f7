"""The dump file: writer and reader of `triage.dump.sections.Dump`.

A dump is written by a process that is about to die and read by a stranger's
laptop, so: one file, whole or absent (temporary name, fsync, rename, fsync of
the directory), and a reader that believes nothing it reads. The file is valid
msgpack as a whole::

    [MAGIC, FORMAT_VERSION, [name, required, crc32, body], ...]

`body` is msgpack too (`triage.dump.codec`): numbers, text, lists, maps and arrays
are all it can hold, and nothing in it names code. A section that this reader
does not know is kept undecoded, unless the writer marked it as required.
"""

from __future__ import annotations

import os
import secrets
import time
import zlib
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from triage.dump.codec import (
    Budget,
    Encoded,
    check_structure,
    end_of,
    header,
    items,
    pack,
    unpack,
)
from triage.dump.consistency import check_consistency
from triage.dump.schema import SchemaError, as_lists, from_plain, to_plain
from triage.dump.sections import Backend, Dump, Launch, Pools, Tables
from triage.errors import DumpError
from triage.evidence import Evidence
from triage.files.reading import open_regular
from triage.files.text import printable
from triage.files.writing import Directory, reason

MAGIC = "sglang-triage-dump"
FORMAT_VERSION = 1

MAX_FILE_BYTES = 1 << 30  # a dump with the KV pages of one launch; without them it is under 1 MB
MAX_SECTIONS = 64
_ANY_SIZE = 1 << 62
MAX_HISTORY = 1024  # newest launches kept of the flight recorder


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
    `name` is replaced, the default name is one that nobody else has.

    Raises:
        DumpError: with the reason; nothing of the caller's state has changed.
    """
    encoded = encode(dump)
    try:
        with Directory.open(directory) as opened:
            return opened.write(name or _name(dump), encoded, replace=name is not None)
    except (OSError, ValueError) as error:
        raise DumpError(f"cannot write a dump into {directory}: {reason(error)}") from error


def read_dump(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> Dump:
    """Read one dump file.

    Memory: at most twice the file and 64 MiB.

    Raises:
        DumpError: one sentence saying what the file is instead.
    """
    with open_regular(path, _ANY_SIZE) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(64)
        _check_opening(head, str(path))
        if size > max_bytes:
            raise DumpError(f"{path} has {size} bytes, this reader accepts {max_bytes}")
        file.seek(0)
        encoded = file.read(size)
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
    check_consistency(dump)
    try:
        for name, value in values.items():
            body = pack(to_plain(value))
            check_structure(body, name)
            sections.append(_section(name, _SECTIONS[name][1], body))
        if history:
            name = "history"
            sections.append(_section(name, False, _newest_that_fit(history)))
    except (SchemaError, KeyError, OverflowError, ValueError) as error:
        raise DumpError(f"section {name} cannot be stored: {error}") from error
    sections += [_section(name, False, body) for name, body in dump.extra.items()]
    return pack([MAGIC, FORMAT_VERSION, *sections])


def _newest_that_fit(history: tuple[dict[str, Any], ...]) -> bytes:
    """The section's body: rather fewer old launches than no dump."""
    kept = history[-MAX_HISTORY:]
    while True:
        body = pack(to_plain(kept))
        try:
            check_structure(body, "history")
        except DumpError:
            if len(kept) <= 1:
                raise
            kept = kept[-(len(kept) // 2) :]
        else:
            return body


def decode(encoded: bytes) -> Dump:
    """The dump in `encoded`; DumpError, and nothing else, for anything that is not one."""
    _check_opening(encoded[:64], "this")
    check_structure(encoded, "file")
    budget = Budget()
    sections: dict[str, Any] = {}
    extra: dict[str, bytes] = {}
    _, version, *parts = _parts(encoded)
    for name, required, body in map(_checked_section, parts):
        if name in sections or name in extra:
            raise DumpError(f"section {printable(name)} occurs twice")
        if name not in _SECTIONS:
            if required:
                raise DumpError(
                    f"section {printable(name)} is needed to read this dump and not known here"
                )
            extra[name] = bytes(body)
            continue
        check_structure(body, name, budget)
        try:
            plain = _without_arrays(name, unpack(body, name, budget))
            sections[name] = from_plain(_SECTIONS[name][0], plain, name)
        except SchemaError as error:
            raise DumpError(f"section {error}") from error
    if "fault" not in sections:
        raise DumpError("the dump has no section fault")
    dump = Dump(**sections, extra=extra, format_version=version)
    check_consistency(dump)
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


def _checksum(name: str, required: bool, body: Encoded) -> int:
    return zlib.crc32(body, zlib.crc32(name.encode("utf-8", "surrogatepass"), int(required)))


def _parts(encoded: bytes) -> list[Any]:
    """Magic, version and the sections, whose bodies are views of `encoded`."""
    view = memoryview(encoded)
    parts: list[Any] = []
    _, count, position = header(view, 0, "file")
    for _ in range(count):
        begin, position = position, end_of(view, position)
        kind, _, _ = header(view, begin, "file")
        value = view[begin:position]
        parts.append(list(items(value)) if kind == "array" else unpack(value, "file"))
    return parts


def _without_arrays(name: str, plain: Any) -> Any:
    """Where a section may hold anything, arrays become lists: nobody expects one there."""
    free = {"fault": "facts", "launch": "arguments"}.get(name)
    if name == "provenance":
        return as_lists(plain)
    if free is None or type(plain) is not dict or free not in plain:
        return plain
    return {**plain, free: as_lists(plain[free])}


def _checked_section(section: Any) -> tuple[str, bool, memoryview]:
    match section:
        case [str(name), bool(required), int(checksum), memoryview() as body]:
            if _checksum(name, required, body) != checksum:
                raise DumpError(f"section {printable(name)} is damaged (its checksum differs)")
            return name, required, body
    raise DumpError("a section is not [name, required, checksum, bytes]")


def _name(dump: Dump) -> str:
    """A name that says what it is, and that no other writer takes."""
    launch = "" if dump.launch is None else f"-launch{dump.launch.launch_id}"
    stem = f"{time.strftime('%Y%m%dT%H%M%S')}-{dump.fault.invariant or 'snap'}{launch}"
    return f"{stem}-pid{os.getpid()}-{secrets.token_hex(4)}.msgpack".replace("/", "_")
