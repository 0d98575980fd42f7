"""An error at every call that a hook of ours makes, while SGLang's classes run in the lab.

    python -m tests.torture.inject_child MODE [DEFECT] [--every N] [--seed S]

A first run lists the calls: every Python function of this toolkit that is entered below a
hook, in whatever module, found by looking up the stack for the shell; what SGLang's own
function does below its call is not ours. Then one forked process per function raises at its
first call. Prints a JSON line for the run without traps, with them, and for each injection.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

STEPS = 4
SECONDS = 60
HERE = str(Path(__file__).resolve().parents[2] / "triage") + os.sep
LAB = HERE + "lab" + os.sep
WRAPPER = "<sglang-triage around "


class Injected(RuntimeError):
    """An error that none of our code expects."""


def is_ours(frame: FrameType) -> bool:
    """Is this frame a call that a hook of ours makes?"""
    name = frame.f_code.co_filename
    if not name.startswith(HERE) or name.startswith(LAB):
        return False
    if name.endswith("shell.py"):
        return False  # what is to hold
    above = frame.f_back
    for _ in range(80):
        if above is None:
            return False
        name = above.f_code.co_filename
        if above.f_code.co_name == "shelled" or name.startswith(WRAPPER):
            return True
        if above.f_code.co_qualname == "Original.__call__" or name.startswith(LAB):
            return False
        above = above.f_back
    return False


def lab_run(mode: str, defect: str | None, traps: bool, directory: Path) -> dict[str, Any]:
    from triage.lab import process
    from triage.lab.matrix import EVERYTHING
    from triage.lab.run import Request, run
    from triage.lab.scenarios import find

    told = io.StringIO()
    logging.getLogger("triage").addHandler(logging.StreamHandler(told))
    steps = None if defect else STEPS
    try:
        report = run(
            Request(
                find("smoke"),
                traps=traps,
                mode=mode,
                max_steps=steps,
                reinject=defect,
                directory=directory,
                checks=EVERYTHING if traps else "",
            )
        )
    except BaseException as error:
        return {"raised": f"{type(error).__name__}: {error}"[:300]}
    installed = process._process.installed if process._process else None
    trapped = (report.trapped or {}).get("error")
    return {
        "outcome": report.outcome,
        "digest": report.tables_digest,
        "launches": report.launches,
        "trapped": trapped,
        "said": told.getvalue().count("Injected in "),
        "traceback": "Traceback" in told.getvalue(),
        "not_covered": sorted(installed.shells.failures) if installed is not None else [],
    }


def in_a_child(what: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `what` returns in a forked process; its death is an answer too."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        signal.alarm(SECONDS)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        answer = b"{}"
        try:
            answer = json.dumps(what()).encode()
        except BaseException as error:
            answer = json.dumps({"raised": repr(error)[:300]}).encode()
        finally:
            os.write(write, answer)
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(content) if content else {"raised": f"ended with status {status}"}


def calls(mode: str, defect: str | None, directory: Path) -> dict[str, Any]:
    """The functions that our hooks call in a run, by file and name, in order of their first."""
    found: dict[tuple[str, str, int], None] = {}
    seen: dict[CodeType, None] = {}

    def trace(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if code not in seen and is_ours(frame):
            seen[code] = None
            found[code.co_filename, code.co_qualname, code.co_firstlineno] = None

    sys.settrace(trace)
    try:
        report = lab_run(mode, defect, True, directory)
    finally:
        sys.settrace(None)
    return {"report": report, "calls": list(found)}


def injected(mode: str, defect: str | None, target: list[Any], directory: Path) -> dict[str, Any]:
    raised = []

    def trace(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if (
            not raised
            and code.co_qualname == target[1]
            and code.co_firstlineno == target[2]
            and code.co_filename == target[0]
            and is_ours(frame)
        ):
            raised.append(True)
            sys.settrace(None)
            raise Injected

    sys.settrace(trace)
    try:
        report = lab_run(mode, defect, True, directory)
    finally:
        sys.settrace(None)
    return {**report, "injected": bool(raised)}


def main(mode: str, defect: str | None, every: int, seed: int) -> None:
    from triage.lab import bootstrap

    bootstrap.prepare()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "dumps"
        plain = in_a_child(lambda: lab_run(mode, defect, False, directory))
        print(json.dumps({"case": "without traps", **plain}), flush=True)
        clean = in_a_child(lambda: lab_run(mode, defect, True, directory))
        print(json.dumps({"case": "with traps", **clean}), flush=True)
        listed = in_a_child(lambda: calls(mode, defect, directory))
        if "calls" not in listed:
            raise SystemExit(f"the calls cannot be listed: {listed}")
        for target in listed["calls"][seed % every :: every]:
            where = f"{target[0].removeprefix(HERE)}:{target[1]}"
            answer = in_a_child(lambda target=target: injected(mode, defect, target, directory))
            print(json.dumps({"case": where, "of": len(listed["calls"]), **answer}), flush=True)


if __name__ == "__main__":
    words = sys.argv[1:]
    options = {}
    for name in ("--every", "--seed"):
        if name in words:
            at = words.index(name)
            options[name[2:]] = int(words[at + 1])
            del words[at : at + 2]
    main(words[0], words[1] if len(words) > 1 else None, **{"every": 1, "seed": 0, **options})
