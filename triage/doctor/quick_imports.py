"""Import what a server imports with fewer system calls, and its compiler beside it.

The failure: SGLang's import is 5,700 modules and 223,000 system calls. Where a call is dear,
as under gVisor, the doctor took 18 s on a machine with an H200. The rule: every module that was
imported before still is, by Python's own finders; only what is asked for twice is asked once.

    sources      the same source file is stat'ed up to a hundred times (`inspect.getmodule` of
                 torch's and transformers' registrations): a file that was there stays there
    bytecode     is read in three calls, not nine
    torch.compile   imports TorchInductor, 540 modules, at the first decorated function. Here it
                 returns the function, and a forked process imports the compiler meanwhile; if
                 that does not end well, this process imports it itself, for the true reason

For the child of the doctor only, which serves nobody: it patches `os` and `importlib`.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import signal
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR
from typing import Any

COMPILER = "torch._inductor.compile_fx"
"""What `torch.compile` imports when it is called, 2.4 to 2.13."""

PATIENCE_S = 20.0
_SLOTS = 1 << 17  # of 8 bytes: a chunk of 2 MiB, half of it for the calls inside
_AT_ONCE = 1 << 16  # bytes; more would be mapped and unmapped for every file


def ask_once() -> None:
    """Patch what the finders and `os.path.realpath` ask, for the rest of this process.

    What lies on the import path is remembered once it was there: source files and folders.
    A module that is written while this runs needs `importlib.invalidate_caches()`, as ever.
    """
    import posix

    roots = tuple({os.path.realpath(entry) + os.sep for entry in sys.path if entry})
    roots += tuple({entry + os.sep for entry in sys.path if entry})
    above = {str(folder) for root in roots for folder in Path(root, "_").parents}

    def remembering(ask: Any, kept: Callable[[os.stat_result, str], bool]) -> Any:
        known: dict[str, os.stat_result] = {}

        def remembered(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
            if args or kwargs or type(path) is not str:
                result: os.stat_result = ask(path, *args, **kwargs)
                return result
            found = known.get(path)
            if found is None:
                found = ask(path)  # raises where there is nothing, and is asked again then
                if (path in above or path.startswith(roots)) and kept(found, path):
                    known[path] = found
            return found

        return remembered

    def folder_or_source(found: os.stat_result, path: str) -> bool:
        return S_ISDIR(found.st_mode) or path.endswith(".py")

    for name in ("stat", "lstat"):
        asked = getattr(posix, name)
        instead = remembering(asked, folder_or_source)
        for capability in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if asked in capability:
                capability.add(instead)
        setattr(os, name, instead)
        setattr(posix, name, instead)
    setattr(importlib.machinery.SourceFileLoader, "get_data", _read)  # noqa: B010


def in_one_chunk(function: Callable[..., None]) -> Callable[..., None]:
    """`function` with a frame so large that what it calls fits behind it.

    CPython keeps frames in chunks of 16 KiB and gives the last one back at once, so a depth that
    lies on an edge maps and unmaps memory at every call: 28,000 times in one such import. A
    chunk is made as large as the frame that opens it needs.
    """
    assert isinstance(function, types.FunctionType)
    code = function.__code__.replace(co_stacksize=_SLOTS)
    return types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__)


def _read(loader: object, path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(descriptor, _AT_ONCE)]
        while len(parts[-1]) == _AT_ONCE:
            parts.append(os.read(descriptor, _AT_ONCE))
    finally:
        os.close(descriptor)
    return b"".join(parts) if len(parts) > 1 else parts[0]


class CompilerBeside:
    """`torch.compile` of an import that compiles nothing; torch is imported already."""

    def __init__(self) -> None:
        self._called = False
        self._pid = 0

    def start(self) -> None:
        """Fork, and stand in for `torch.compile`."""
        import torch

        if not hasattr(torch, "compile") or COMPILER in sys.modules:
            return
        self._pid = os.fork()
        if not self._pid:
            _import_and_exit()
        self._compile = torch.compile
        setattr(torch, "compile", self._stand_in)  # noqa: B010

    def finish(self) -> None:
        """SGLang is imported. Raises what the compiler's import raises, if it was asked for.

        It goes on standing in then: the hooks import more of SGLang. The forked process began
        first and has less to import; one that hangs is given up.
        """
        if not self._pid:
            return
        import torch

        status = self._waited_for() if self._called else None
        if status is None:
            os.kill(self._pid, signal.SIGKILL)  # not reaped, so it is still ours
            os.waitpid(self._pid, 0)
        self._pid = 0
        if status != 0:
            setattr(torch, "compile", self._compile)  # noqa: B010
        if self._called and status != 0:
            importlib.import_module(COMPILER)

    def _waited_for(self) -> int | None:
        """Its wait status; None if it is running still."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return status
            time.sleep(0.01)
        return None

    def _stand_in(self, model: Any = None, **options: Any) -> Any:
        self._called = True
        return model if model is not None else _unchanged


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _import_and_exit() -> None:
    code = 1
    os.closerange(3, 1024)  # whoever reads what the doctor's child tells does not wait for us
    try:
        importlib.import_module(COMPILER)
        code = 0
    finally:
        os._exit(code)
