"""Processes in which SGLang is imported already: what a test runs in one costs no import of it.

`python(*arguments, version=...)` is what `subprocess.run` would be of a Python in which
`triage.lab.bootstrap.prepare` was called: a server for each release imports it once, for all
workers of a run of pytest, and each run is a process forked from there, whose hooks, patches and
variables are its own. SGLang's import is five CPU-seconds. A test of that import itself, or of
what comes before it, starts a Python of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

OURS = ("triage.lab.run", "triage.sglang.state_hooks", "triage.sglang.traps")
"""What most runs import beside SGLang: 0.3 CPU-seconds of each, if not there already."""
HOOKED = tuple(
    f"sglang.srt.{name}"
    for name in (
        "plugins",
        "layers.attention.triton_backend",
        "mem_cache.swa_radix_cache",
        "mem_cache.unified_radix_cache",
        "mem_cache.hiradix_cache",
        "mem_cache.hi_mamba_radix_cache",
        "speculative.dflash_info_v2",
        "speculative.frozen_kv_mtp_utils",
        "speculative.eagle_draft_cuda_graph_runner",
        "speculative.eagle_draft_extend_cuda_graph_runner",
        "speculative.frozen_kv_mtp_cuda_graph_runner",
        "speculative.multi_layer_eagle_draft_extend_cuda_graph_runner",
        "managers.schedule_policy",
        "managers.scheduler",
        "disaggregation.prefill",
        "model_executor.model_runner",
    )
)
"""Where the traps look for what they hook: 0.2 CPU-seconds more. What a release lacks, or cannot
import here, each run is told anew."""
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
KEPT = 6 if MEMORY > 20e9 else 3
"""Servers that a worker keeps, each of some 700 MB. There are six releases; fewer servers import
SGLang again and again where tests go through all of them."""
_servers: dict[str, IO[str]] = {}
_started: list[tuple[subprocess.Popen[bytes], Path]] = []


def python(
    *arguments: object,
    version: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: int = 300,
) -> subprocess.CompletedProcess[str]:
    """`python *arguments` (`-c CODE`, `-m MODULE` or a file, and what follows) under a release.

    version: of SGLang; None is the installed one. env: variables beside those of this process;
    what PYTHONPATH names beside this process's is searched first. timeout: seconds, after
    which the process is ended and its returncode is -SIGALRM.
    """
    from triage.lab import versions
    from triage.lab.bootstrap import sglang_version

    version = version or sglang_version()
    whole = {**versions.environment(version), **(env or {})}
    with tempfile.TemporaryDirectory() as directory:
        out, err = Path(directory) / "out", Path(directory) / "err"
        request = {
            "arguments": list(map(str, arguments)),
            "environment": whole,
            "cwd": str(cwd or Path.cwd()),
            "out": str(out),
            "err": str(err),
            "seconds": timeout,
        }
        server = _server(version)
        server.write(json.dumps(request) + "\n")
        server.flush()
        answer = server.readline()
        assert answer, f"the process that holds SGLang {version} ended"
        said = [path.read_text(errors="replace") for path in (out, err)]
    return subprocess.CompletedProcess(request["arguments"], int(answer), *said)


def _server(version: str) -> IO[str]:
    """This worker's connection to the server of a release."""
    found = _servers.pop(version, None)
    if found is None:
        while len(_servers) >= KEPT:
            _servers.pop(next(iter(_servers))).close()
        found = _connection(version)
    _servers[version] = found  # the last that was asked for is the last to go
    return found


def _connection(version: str) -> IO[str]:
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    run = os.environ.setdefault("TESTS_PREPARED", run)  # a test's own pytest belongs to this run
    directory = Path(tempfile.gettempdir()) / f"prepared-{run}"
    path = directory / version
    with _locked(), socket.socket(socket.AF_UNIX) as client:
        directory.mkdir(mode=0o700, exist_ok=True)
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):  # the first, or what a killed one left
            path.unlink(missing_ok=True)
            _start(version, path)
            client.connect(str(path))
        return client.makefile("rw")


def _start(version: str, path: Path) -> None:
    from triage.lab import versions

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        number = listener.fileno()
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.prepared", str(path), str(number)],
            cwd=Path(__file__).resolve().parents[1],
            env={**versions.environment(version), "PYTHONWARNINGS": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[number],
        )
    _started.append((server, path))


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Nobody else starts or ends a server meanwhile."""
    with Path(__file__).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@atexit.register
def _leave() -> None:
    """A server ends with its last connection, which may be another worker's."""
    while _servers:
        _servers.popitem()[1].close()
    for server, path in _started:
        if server.wait():  # it was killed, and left this
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()


# -- in the server -----------------------------------------------------------------------------


def serve(path: Path, listener: socket.socket) -> None:
    gc.disable()  # as in `prepare`: nothing of this is freed
    from triage.lab import bootstrap

    bootstrap.prepare()
    for name in OURS:
        importlib.import_module(name)
    for name in HOOKED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _little_workspace()
    gc.freeze()
    gc.enable()
    with selectors.DefaultSelector() as waiting:
        waiting.register(listener, selectors.EVENT_READ)
        connected = 0
        while connected or _awaited(path, listener):
            for key, _ in waiting.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    with connection:
                        number, stream = connection.fileno(), connection.makefile("rw")
                    waiting.register(number, selectors.EVENT_READ, (None, stream))
                    connected += 1
                    continue
                pid, stream = key.data
                if pid is not None:  # a run ended
                    _answer(key, waiting)
                elif line := stream.readline():
                    _begin(json.loads(line), stream, waiting)
                else:
                    waiting.unregister(key.fd)
                    stream.close()
                    connected -= 1


def _awaited(path: Path, listener: socket.socket) -> bool:
    """Whether somebody waits to be connected; if nobody does, nobody finds the way any more."""
    with _locked():
        ready, _, _ = select.select([listener], [], [], 0)
        if not ready:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another release's is in there
                path.parent.rmdir()
        return bool(ready)


def _begin(request: dict[str, Any], asked: IO[str], waiting: selectors.BaseSelector) -> None:
    pid = os.fork()
    if pid == 0:
        for key in list(waiting.get_map().values()):
            os.close(key.fd)
        waiting.close()
        _become(request)
    waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, asked))


def _answer(key: selectors.SelectorKey, waiting: selectors.BaseSelector) -> None:
    pid, asked = key.data
    waiting.unregister(key.fd)
    os.close(key.fd)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError, ValueError):  # who asked is gone
        asked.write(f"{os.waitstatus_to_exitcode(status)}\n")
        asked.flush()


def _little_workspace() -> None:
    """SGLang fills 512 MiB with zeros for its trtllm_mha backends, 0.3 CPU-seconds, of which the
    lab's kernels touch the first bytes."""
    from sglang.srt.layers.attention import trtllm_mha_backend

    assert trtllm_mha_backend.DEFAULT_WORKSPACE_SIZE_MB == 512
    trtllm_mha_backend.DEFAULT_WORKSPACE_SIZE_MB = 1


def _become(request: dict[str, Any]) -> None:
    """Turn this process into the one that was asked for. Does not return."""
    signal.alarm(request["seconds"])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    path = request["environment"]["PYTHONPATH"].split(os.pathsep)
    sys.path[1:1] = [each for each in path if each not in sys.path]
    code = 0
    try:
        _run(request["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # a forked child: as an interpreter, which tells anything and ends
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # as an interpreter ends,
        atexit._run_exitfuncs()  # but for the walk through all that was imported
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: list[str]) -> None:
    kind, *rest = arguments
    if kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path[0] = ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(kind).parent)
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    serve(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
