"""What a source holds: any URL that fsspec opens, a folder, a glob, a file, an archive.

The rule: a listing tells what is there before a byte is read; reading says of each object what
went wrong with it, and a wrong one stops nothing. Names and sentences never show a password that
stood in a URL. Local files are opened as every stranger's file is (`triage/files/reading.py`).
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from triage.dump.store import SUFFIX
from triage.errors import DumpError
from triage.files.reading import read_regular
from triage.files.text import printable
from triage.files.writing import PARTIAL, reason

MAX_BYTES = 64 << 20
"""Of one object: a dump without keys and values is under 1 MB."""

IN_PROCESS = frozenset({"memory"})
"""Protocols whose objects no other process can see."""

_GLOB = re.compile(r"[*?\[]")
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs",
             "az": "adlfs", "http": "aiohttp", "https": "aiohttp"}  # fmt: skip


class Object(NamedTuple):
    """One object of a source, as its listing has it.

    root: what opens its file system again, in another process. path: its name there.
    url: as it is told, without user or password. stamp: ETag, or time of the last change.
    modified: that time (ISO 8601, UTC), "" where the store does not say.
    """

    root: str
    path: str
    url: str
    size: int
    stamp: str
    modified: str


@dataclass(slots=True)
class Listing:
    """objects: in the order of their URLs. passed_over: why -> how many files were not looked at.
    problems: source -> why it could not be listed."""

    objects: list[Object] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    protocols: set[str] = field(default_factory=set)


def list_sources(sources: Sequence[str]) -> Listing:
    """Every object of every source; one that two sources name is there once.

    Raises ModuleNotFoundError where fsspec, or the package of a protocol, is not installed.
    """
    listing = Listing()
    found: dict[str, Object] = {}
    for source in sources:
        try:
            for each in _objects(source, listing):
                found.setdefault(each.url, each)
        except DumpError as error:
            listing.problems[shown(source)] = str(error)
    listing.objects = [found[url] for url in sorted(found)]
    return listing


def read(each: Object) -> bytes:
    """Its content. Raises DumpError: one sentence."""
    if each.size > MAX_BYTES:
        raise DumpError(f"it has {each.size} bytes, and {MAX_BYTES} are read at most")
    if each.size == 0:
        raise DumpError("it is empty: the upload was not finished, or nothing was written")
    filesystem = _filesystem(each.root)
    if _is_local(filesystem):
        content = read_regular(Path(each.path), MAX_BYTES)
    else:
        try:
            content = filesystem.cat_file(each.path, start=0, end=each.size + 1)  # one request
        except ModuleNotFoundError:
            raise
        except Exception as error:  # each store has a family of its own
            raise DumpError(f"it cannot be read: {why(error)}") from error
    if len(content) != each.size:
        raise DumpError(
            f"it was listed with {each.size} bytes and {len(content)} came: it was changed "
            "meanwhile, or the upload was not finished"
        )
    return content


def shown(url: str) -> str:
    """`url` as it may be told."""
    return printable(_USER.sub("", url))


def _objects(source: str, listing: Listing) -> list[Object]:
    import fsspec

    if source.lower().endswith(".zip") and "://" not in source and Path(source).is_file():
        source = f"zip://::{source}"
    try:
        filesystem, path = fsspec.core.url_to_fs(source)
        filesystem.invalidate_cache()  # what an earlier listing of this process saw is old
        protocol = filesystem.protocol
        listing.protocols.add(protocol if isinstance(protocol, str) else protocol[0])
        exact = not _GLOB.search(path)
        if exact and path and filesystem.isfile(path):
            entries = {path: filesystem.info(path)}
        elif exact:
            if path and not filesystem.exists(path):
                raise DumpError(f"{shown(source)} is not there")
            entries = filesystem.find(path, detail=True)
            entries = _dumps_of(entries, listing.passed_over)
        else:
            entries = {
                name: info
                for name, info in filesystem.glob(path, detail=True).items()
                if info.get("type") != "directory"
            }
    except (DumpError, ModuleNotFoundError):
        raise
    except ImportError as error:  # fsspec's own sentence is of pip or conda; ours names the extra
        raise _missing(source, error) from error
    except Exception as error:  # each store has a family of its own
        raise DumpError(f"cannot list {shown(source)}: {why(error)}") from error
    return [_object(source, filesystem, name, info) for name, info in entries.items()]


def _missing(source: str, error: ImportError) -> ModuleNotFoundError:
    package = _PACKAGES.get(source.partition("://")[0], "")
    return ModuleNotFoundError(str(error), name=package or error.name or "fsspec")


def _dumps_of(entries: dict[str, Any], passed_over: Counter[str]) -> dict[str, Any]:
    """Of a folder the files that bear a dump's name; of the rest how many there were."""
    kept = {}
    for name, info in entries.items():
        last = name.rstrip("/").rpartition("/")[2]
        if PARTIAL.fullmatch(last):
            passed_over["being written, or left by a writer that died (.partial)"] += 1
        elif not last.endswith(SUFFIX) or last.startswith("."):
            passed_over[f"not named *{SUFFIX}"] += 1
        else:
            kept[name] = info
    return kept


def _object(source: str, filesystem: Any, path: str, info: dict[str, Any]) -> Object:
    root, url = source, filesystem.unstrip_protocol(path)
    if "::" in source:  # an archive: its own URL stands behind the name inside
        outer = source.partition("::")[2]
        root, url = f"{source.partition('://')[0]}://::{outer}", f"{url}::{outer}"
    elif _is_local(filesystem):
        root, url = "file://", path
    when = _modified(info)
    stamp = str(info.get("ETag") or info.get("etag") or info.get("md5Hash") or "").strip('"')
    return Object(root, path, shown(url), int(info.get("size") or 0), stamp or when, when)


def _modified(info: dict[str, Any]) -> str:
    """When the store last changed it, by the store's clock."""
    for key in ("LastModified", "mtime", "updated", "last_modified", "created", "date_time"):
        value = info.get(key)
        try:
            if isinstance(value, (int, float)):
                return datetime.fromtimestamp(value, UTC).isoformat(timespec="microseconds")
            if isinstance(value, (tuple, list)) and len(value) == 6:  # a zip's, of no zone
                value = datetime(*value)  # six numbers
            if isinstance(value, str):
                value = datetime.fromisoformat(value)
            if isinstance(value, datetime):
                aware = value if value.tzinfo else value.replace(tzinfo=UTC)
                return aware.astimezone(UTC).isoformat(timespec="microseconds")
        except (ValueError, OverflowError, OSError):
            continue
    return ""


@functools.lru_cache(maxsize=16)
def _filesystem(root: str) -> Any:
    import fsspec

    return fsspec.core.url_to_fs(root)[0]


def _is_local(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return "file" in ((protocol,) if isinstance(protocol, str) else protocol)


_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "PermissionError",
                "ProfileNotFound", "TokenRetrievalError", "CredentialRetrievalError")  # fmt: skip


def why(error: BaseException) -> str:
    """Of a store's error: what went wrong; of its own text the first line, without keys."""
    name = type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "nothing of that name is there"
    said = reason(error) if isinstance(error, OSError) and error.strerror else str(error)
    said = printable(next(iter(said.splitlines()), ""))[:200]
    said = re.sub(r"\b[A-Z0-9]{16,}\b", "(a key)", _USER.sub("", said))
    if name in _CREDENTIALS:
        return f"the store refuses these credentials, or there are none ({name}: {said})"
    return f"{name}: {said}" if said else name
