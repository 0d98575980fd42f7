"""Runs kernels over a dump, each in a process that may die without taking the tool along.

A child gets the dump's path and writes its verdict to a file of its own, so
whatever it prints cannot be taken for one. It is the leader of its own session
and is ended with everything it started, on time-out and when we are interrupted;
if we are killed outright, the kernel ends it (`triage.replay.child.confine`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from triage.dump.sections import Dump
from triage.errors import ReplayError, did_you_mean
from triage.replay.child import MAX_FILE_BYTES
from triage.replay.fixes import FIXES, apply_fix
from triage.replay.kernels import EMULATOR, KERNELS, absent, gpu_present, load, select
from triage.replay.verdict import Outcome, Verdict, records_fault

DEFAULT_TIMEOUT_S = 120.0
INSTALL = "pip install 'sglang-triage[lab]'"
MAX_VERDICT_BYTES = 4 << 20
MAX_STDERR_BYTES = 1 << 16


def replay_file(
    path: Path,
    dump: Dump,
    kernels: Sequence[str],
    *,
    fix: str = "",
    timeout_s: float = DEFAULT_TIMEOUT_S,
    progress: Callable[[int, int, str], None] = lambda done, total, kernel: None,
) -> list[Verdict]:
    """One verdict per kernel asked for, and always one for trtllm-gen.

    Args:
        path: the file that `dump` was read from; children read it again.
        progress: told before each kernel: kernels done, kernels, the one that is next.
    Raises:
        ReplayError: for an unknown kernel or fix, or a fix that the dump cannot take.
    """
    names = select(kernels)
    if fix:
        if fix not in FIXES:
            raise ReplayError(
                f"unknown fix {fix!r}{did_you_mean(fix, FIXES)}; known: {', '.join(FIXES)}"
            )
        apply_fix(fix, dump)
    verdicts = []
    for done, name in enumerate(names):
        progress(done, len(names), name)
        verdicts.append(_replay_one(name, path, dump, fix, timeout_s))
    return verdicts


def _replay_one(name: str, path: Path, dump: Dump, fix: str, timeout_s: float) -> Verdict:
    kernel = KERNELS[name]
    if kernel.needs_gpu and not gpu_present():
        return _cannot_run(name, dump, fix, f"needs {kernel.needs_gpu}; no NVIDIA GPU here")
    if name == EMULATOR:
        return load(name)(dump, fix)
    if missing := absent(kernel.packages):
        return _cannot_run(name, dump, fix, f"needs {', '.join(missing)}: {INSTALL}")
    with tempfile.TemporaryDirectory(prefix="triage-replay-") as scratch:
        return _run_child(name, path, dump, fix, timeout_s, Path(scratch))


def _run_child(
    name: str, path: Path, dump: Dump, fix: str, timeout_s: float, scratch: Path
) -> Verdict:
    answer, errors = scratch / "verdict.json", scratch / "stderr"
    command = [sys.executable, "-m", "triage.replay.child", str(os.getpid())]
    command += [name, str(path), str(answer), fix]
    with errors.open("wb") as stderr:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            status: int | None = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(child)
    if status is None:
        return _cannot_run(name, dump, fix, f"did not finish within {timeout_s:g} s and was ended")
    plain = _read_answer(answer)
    if plain is not None:
        try:
            fault_expected = records_fault(dump) and not fix
            verdict = Verdict.from_dict(plain, fault_expected=fault_expected)
        except (KeyError, TypeError, ValueError):
            return _cannot_run(name, dump, fix, "its process wrote something that is no verdict")
        return verdict
    return _cannot_run(name, dump, fix, _how_it_died(status, errors))


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started; it leads a session of its own."""
    with contextlib.suppress(ProcessLookupError):  # the group may be gone already
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _read_answer(answer: Path) -> dict[str, Any] | None:
    if not answer.exists() or answer.stat().st_size > MAX_VERDICT_BYTES:
        return None
    try:
        plain = json.loads(answer.read_bytes())
    except ValueError:
        return None
    return plain if isinstance(plain, dict) else None


def _how_it_died(status: int, errors: Path) -> str:
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    with errors.open("rb") as file:
        file.seek(max(errors.stat().st_size - MAX_STDERR_BYTES, 0))
        lines = file.read(MAX_STDERR_BYTES).decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if errors.stat().st_size >= MAX_FILE_BYTES:
        how += f" after {MAX_FILE_BYTES >> 20} MiB of output"
    return f"its process {how} without a verdict" + (f": {last[:300]}" if last else "")


def _cannot_run(name: str, dump: Dump, fix: str, reason: str) -> Verdict:
    return Verdict(
        name,
        Outcome.CANNOT_RUN,
        KERNELS[name].basis,
        (reason,),
        records_fault(dump) and not fix,
        fix,
    )
