"""Putting a file in place: whole or not at all, over nothing that was there, through no link.

The failures: a link that another user planted under the name we write; two writers of one
name; a full disk that leaves half a file; a writer that dies and leaves its temporary file
for ever. So a directory is opened once and everything is done relative to the descriptor; a
file is created under a name that nobody can guess (O_EXCL, O_NOFOLLOW), locked while it is
written, and moved to its own name when it is whole. A lock ends with its process, whatever
its number space, so what nobody holds any more is a leftover and is removed at the next start.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triage.errors import DumpError, TriageError

PARTIAL = re.compile(r"\.[^/]+\.[0-9a-f]{16}\.partial")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_ATTEMPTS = 3


@dataclass(slots=True)
class Directory:
    """A directory that is held open, so that nobody can exchange it behind its name."""

    path: Path
    handle: int

    @classmethod
    def open(cls, path: Path, *, private: bool = False) -> Directory:
        """Open it, made with its parents (0700) where it is missing.

        Args:
            private: it holds evidence of a server: it may not be a link, belongs to this user
                or to root, and nobody else may exchange its files.
        Raises:
            OSError: as the system says it; PermissionError with a sentence where it is not private.
        """
        _make(path)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            handle = os.open(path, flags | (os.O_NOFOLLOW if private else 0))
        except OSError as error:
            if private and path.is_symlink():
                raise PermissionError(f"{path} is a link; name the directory itself") from error
            raise
        made = cls(path, handle)
        if private and (problem := _not_private(os.fstat(handle))):
            made.close()
            raise PermissionError(f"{path} {problem}; name a directory that does not exist yet")
        return made

    def close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, name: str, content: bytes, *, replace: bool) -> Path:
        """Put `content` under `name`, durably; returns its path.

        Args:
            replace: a file or link of that name is replaced (a link itself, never what it
                points to); else FileExistsError.
        Raises:
            OSError: the file is not there then, nor a part of it.
        """
        for attempt in range(_ATTEMPTS):
            partial = f".{name[:180]}.{secrets.token_hex(8)}.partial"
            handle = os.open(partial, _CREATE, 0o600, dir_fd=self.handle)
            try:
                _hold(handle)
                _write_all(handle, content)
                os.fsync(handle)
                self._publish(partial, name, replace)
            except (FileNotFoundError, BlockingIOError):  # taken for a leftover before its lock
                if attempt + 1 == _ATTEMPTS:
                    raise
                continue
            finally:
                try:
                    self.remove(partial)
                finally:
                    os.close(handle)
            self._sync()
            return self.path / name
        raise AssertionError("unreachable")

    def _publish(self, partial: str, name: str, replace: bool) -> None:
        here = self.handle
        if not replace:
            try:
                os.link(partial, name, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
                return
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
            if self.has(name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        os.rename(partial, name, src_dir_fd=here, dst_dir_fd=here)

    def _sync(self) -> None:
        """Some file systems cannot; the file is whole all the same."""
        try:
            os.fsync(self.handle)
        except OSError:
            return

    def create_held(self, name: str) -> int:
        """An empty file `name`, locked by the descriptor that is returned; a leftover is replaced.

        Raises OSError, BlockingIOError where a living process holds it.
        """
        for _ in range(_ATTEMPTS):
            try:
                handle = os.open(name, _CREATE, 0o600, dir_fd=self.handle)
            except FileExistsError:
                if not self.remove_leftover(name):
                    raise
                continue
            _hold(handle)
            return handle
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)

    def has(self, name: str) -> bool:
        """Is there anything of that name, a link that leads nowhere included?"""
        try:
            os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        except OSError:
            return False
        return True

    def remove(self, name: str) -> bool:
        """Remove it if it can be; never raises. True where it is gone."""
        try:
            os.unlink(name, dir_fd=self.handle)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def remove_leftover(self, name: str) -> bool:
        """Remove a file whose writer lives no more, or a link of that name. True: it is gone."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            handle = os.open(name, flags, dir_fd=self.handle)
        except OSError as error:
            if error.errno == errno.ELOOP:
                return self.remove(name)
            return error.errno == errno.ENOENT
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self.remove(name)
        except OSError:
            return False
        finally:
            os.close(handle)

    def remove_leftovers(self, also: re.Pattern[str] | None = None) -> int:
        """Remove what dead writers left; returns how many files. Never raises."""
        removed = 0
        for name, _ in self.files():
            if PARTIAL.fullmatch(name) or (also is not None and also.fullmatch(name)):
                removed += self.remove_leftover(name)
        return removed

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Name and facts of each regular file that is there; empty where that cannot be read."""
        try:
            names = os.listdir(self.handle)  # noqa: PTH208 (a descriptor, not a path)
        except OSError:
            return
        for name in names:
            try:
                facts = os.stat(name, dir_fd=self.handle, follow_symlinks=False)
            except OSError:
                continue  # another process was faster
            if stat.S_ISREG(facts.st_mode):
                yield name, facts


def write_output(
    path: Path,
    content: bytes,
    *,
    force: bool = False,
    inputs: tuple[Path | None, ...] = (),
    error: type[TriageError] = DumpError,
) -> Path:
    """Write what a command was asked to make at `path`, and return it.

    Args:
        force: a file that is there may be replaced; never one of `inputs`.
    Raises:
        error: one sentence; what was there is untouched.
    """
    check_output(path, force=force, inputs=inputs, error=error)
    try:
        with Directory.open(path.parent) as directory:
            return directory.write(path.name, content, replace=force)
    except FileExistsError as problem:
        raise error(f"{path} exists; name another file, or give --force") from problem
    except (OSError, ValueError) as problem:
        raise error(f"cannot write {path}: {reason(problem)}") from problem


def check_output(
    path: Path,
    *,
    force: bool = False,
    inputs: tuple[Path | None, ...] = (),
    error: type[TriageError] = DumpError,
) -> None:
    """Refuse, before any work, an output that would overwrite an input or an unnamed file.

    Raises `error`; see `write_output`.
    """
    try:
        if path.is_dir() or not path.name:
            raise error(f"{path} is a directory; name a file in it")
        for source in inputs:
            if source is not None and path.exists() and path.samefile(source):
                raise error(f"{path} is the input itself; name another file")
        if not force and (path.exists() or path.is_symlink()):
            raise error(f"{path} exists; name another file, or give --force")
    except (OSError, ValueError) as problem:
        raise error(f"cannot write {str(path)!r}: {reason(problem)}") from problem


def reason(error: Exception) -> str:
    """What the system said, without the file's name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _make(path: Path) -> None:
    """The directory and its missing parents, each 0700 whatever the umask."""
    missing = [each for each in (path, *path.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        try:
            each.mkdir(mode=0o700)
        except FileExistsError:
            continue


def _not_private(facts: os.stat_result) -> str:
    if facts.st_uid not in (os.geteuid(), 0):
        return f"belongs to user {facts.st_uid}, not to {os.geteuid()} or root"
    if facts.st_mode & 0o022 and not facts.st_mode & stat.S_ISVTX:
        return f"may be written by others (mode {stat.S_IMODE(facts.st_mode):04o}: chmod go-w)"
    return ""


def _hold(handle: int) -> None:
    """Lock it; where the file system has no locks its leftovers are not removed by us."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def _write_all(handle: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]
