"""What a run leaves, packed: logs and dumps in one file, compile caches in another."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

LIMIT_BYTES = 15 << 20
CACHES = (".cache/flashinfer", ".triton/cache", ".cache/tvm-ffi", ".cache/sglang")
"""Under the home folder: what FlashInfer, Triton, tvm-ffi and SGLang have compiled."""

_LARGE = ("drafts.jsonl", "oracle.jsonl")  # left out when the rest does not fit with them
_NOT_KEPT = ("models", "plugins")


def pack_evidence(folders: Path, out: Path, limit_bytes: int = LIMIT_BYTES) -> list[str]:
    """Pack every job's folder into `out`; returns what had to be left out."""
    for left_out in ((), _LARGE):
        names = [
            path
            for path in sorted(folders.rglob("*"))
            if path.is_file()
            and path.name not in left_out
            and not set(path.relative_to(folders).parts) & set(_NOT_KEPT)
        ]
        _tar(out, ((path, str(path.relative_to(folders))) for path in names))
        if out.stat().st_size <= limit_bytes:
            return list(left_out)
    out.unlink()
    return ["everything: it does not fit"]


def pack_caches(home: Path, out: Path, limit_bytes: int = LIMIT_BYTES) -> bool:
    """Pack the compile caches under `home`; False where there are none or they do not fit."""
    paths = [
        path
        for cache in CACHES
        for path in sorted((home / cache).rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    ]
    if not paths:
        return False
    _tar(out, ((path, str(path.relative_to(home))) for path in paths))
    if out.stat().st_size > limit_bytes:
        out.unlink()
        return False
    return True


def unpack_caches(archive: Path, home: Path) -> int:
    """Put packed caches back under `home`, times included; returns how many files."""
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.name.startswith(CACHES)]
        tar.extractall(home, members=members, filter="data")
    return len(members)


def _tar(out: Path, files: Iterable[tuple[Path, str]]) -> None:
    partial = out.with_suffix(".partial")
    with tarfile.open(partial, "w:xz", preset=3) as tar:
        for path, name in files:
            try:
                tar.add(path, name, recursive=False)
            except OSError:  # a server that was just ended may take a file along
                continue
    shutil.move(partial, out)
