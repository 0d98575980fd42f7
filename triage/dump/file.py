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
import stat
import time
import zlib
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from triage.dump.codec import check_structure, pack, unpack
from triage.dump.consistency import check_agreement
from triage.dump.schema import SchemaError, from_plain, to_plain
from triage.dump.sections import Backend, Dump, Launch, Pools, Tables
from triage.errors import DumpError
from triage.evidence import Evidence

MAGIC = "sglang-triage-dump"
FORMAT_VERSION = 1

MAX_FILE_BYTES = 1 << 30  # a dump with the KV pages of one launch; without them it is under 1 MB
MAX_SECTIONS = 64
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
    outer = unpack(encoded, "file")
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
        check_structure(body, name)
        try:
            sections[name] = from_plain(_SECTIONS[name][0], unpack(body, name), name)
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
