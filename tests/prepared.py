"""Processes in which SGLang is imported already: what a test runs in one costs no import of it.

`python(*arguments, version=...)` is what `subprocess.run` would be of a Python in which
`triage.lab.bootstrap.prepare` was called: a server for each release imports it once, and each
run is a process forked from there, whose hooks, patches and variables are its own. SGLang's
import is five CPU-seconds. A test of that import itself, or of what comes before it, starts a
Python of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
"""Servers alive at a time, each of some 700 MB, for each of `make test`'s two workers. There are
six releases; fewer servers import SGLang again and again where tests go through all of them."""
_servers: dict[str, subprocess.Popen[str]] = {}


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
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, f"the process that holds SGLang {version} ended: {server.wait()}"
        said = [path.read_text(errors="replace") for path in (out, err)]
    return subprocess.CompletedProcess(request["arguments"], int(answer), *said)


def _server(version: str) -> subprocess.Popen[str]:
    from triage.lab import versions

    found = _servers.pop(version, None)
    if found is None:
        while len(_servers) >= KEPT:
            _close(_servers.pop(next(iter(_servers))))
        found = subprocess.Popen(
            [sys.executable, "-m", "tests.prepared"],
            cwd=Path(__file__).resolve().parents[1],
            env={**versions.environment(version), "PYTHONWARNINGS": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    _servers[version] = found  # the last that was asked for is the last to go
    return found


def _close(server: subprocess.Popen[str]) -> None:
    server.communicate()  # the end of its input ends it


@atexit.register
def _close_all() -> None:
    while _servers:
        _close(_servers.popitem()[1])


# -- in the server -----------------------------------------------------------------------------


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the import prints is no answer
    from triage.lab import bootstrap

    gc.disable()  # as in `prepare`: nothing of this is freed
    bootstrap.prepare()
    for name in OURS:
        importlib.import_module(name)
    for name in HOOKED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _little_workspace()
    gc.freeze()
    gc.enable()
    while line := sys.stdin.readline():
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            answers.close()
            _become(request)
        _, status = os.waitpid(pid, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


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
    serve()
