"""An error at every call that a hook of ours makes, while SGLang's classes run in the lab.

    python -m tests.torture.inject_child MODE [DEFECT] [--every N] [--seed S] [--done FILE]
                                         [--load smoke|triton|batch]

A first run lists the calls: every Python function of this toolkit that is entered below a
hook, in whatever module, found by looking up the stack for the shell; what SGLang's own
function does below its call is not ours. Then one forked process per function raises at its
first call. Most are forked from a process in which the hooks are bound and a run has been
made; what only a first run calls fails in one.

Prints a JSON line for the run without traps, with them, and for each injection. With a
DEFECT, `judged` says that a check had found it when the error came: the trap must be told all
the same. With `--done` it goes on behind the lines that a run which was cut off left in FILE.
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

from tests.torture.quick import be_quick, seen_of_a_run
from triage.lab.injection import HERE, Injected, is_judged, is_ours

STEPS = 4
"""The lab's runs are as long; DEFECT is found in the last of them."""
SECONDS = 180
load = "smoke"


def scenario() -> Any:
    from triage.lab.bugs.bug import small
    from triage.lab.scenarios import find, with_backend

    if load == "triton":
        return with_backend(find("smoke-plain"), "triton")
    return find("smoke") if load == "smoke" else small(draft="none", cache="unified", queued=True)


def lab_run(mode: str, defect: str | None, traps: bool, directory: Path) -> dict[str, Any]:
    from triage.lab import process
    from triage.lab.matrix import EVERYTHING
    from triage.lab.run import Request, run

    told = io.StringIO()
    handler = logging.StreamHandler(told)
    logging.getLogger("triage").addHandler(handler)
    try:
        report = run(
            Request(
                scenario(),
                traps=traps,
                mode=mode,
                max_steps=STEPS,
                reinject=defect,
                directory=directory,
                checks=EVERYTHING if traps else "",
            )
        )
    except BaseException as error:  # what leaves the run is what is judged, SystemExit too
        return {"raised": f"{type(error).__name__}: {error}"[:300]}
    finally:
        logging.getLogger("triage").removeHandler(handler)
    installed = process._process.installed if process._process else None
    trapped = (report.trapped or {}).get("error")
    return {
        "outcome": report.outcome,
        "digest": report.tables_digest,
        "launches": report.launches,
        "trapped": trapped,
        "said": told.getvalue().count("Injected in "),
        "counted": installed.shells.internal_errors if installed is not None else 0,
        "traceback": "Traceback" in told.getvalue(),
        "not_covered": sorted(installed.shells.failures) if installed is not None else [],
    }


def in_a_child(what: Callable[[], dict[str, Any]], seconds: int = SECONDS) -> dict[str, Any]:
    """What `what` returns in a forked process; its death is an answer too."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        signal.alarm(seconds)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1), os.dup2(null, 2)
        answer = b"{}"
        try:
            answer = json.dumps(what()).encode()
        except BaseException as error:  # a forked child unwinds into nobody's frames
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
    """The functions that our hooks call, by file and name: of a first run, and of a second."""
    runs = []
    for _ in range(2):
        found: dict[tuple[str, str, int], None] = {}
        runs.append((found, lab_run_traced(mode, defect, directory, found)))
    (first, _), (second, again) = runs
    only = [call for call in first if call not in second]
    return {"again": again, "only first": only, "calls": list(second)}


def lab_run_traced(
    mode: str, defect: str | None, directory: Path, found: dict[tuple[str, str, int], None]
) -> dict[str, Any]:
    seen: set[CodeType] = set()

    def trace(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if code not in seen and is_ours(frame):
            seen.add(code)
            found[code.co_filename, code.co_qualname, code.co_firstlineno] = None

    sys.settrace(trace)
    try:
        return lab_run(mode, defect, True, directory)
    finally:
        sys.settrace(None)


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
            raised.append(is_judged(frame.f_back))
            sys.settrace(None)
            raise Injected

    sys.settrace(trace)
    try:
        report = lab_run(mode, defect, True, directory)
    finally:
        sys.settrace(None)
    return {**report, "injected": bool(raised), "judged": any(raised)}


def main(mode: str, defect: str | None, every: int, seed: int, done: str) -> None:
    from triage.lab import bootstrap

    played = [json.loads(line) for line in Path(done).read_text().splitlines()] if done else []
    bootstrap.prepare()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "dumps"
        first_run = in_a_child(lambda: lab_run(mode, defect, True, directory) and seen_of_a_run())
        be_quick(first_run["modules"], first_run["targets"])
        plain = in_a_child(lambda: lab_run(mode, defect, False, directory))
        clean = in_a_child(lambda: lab_run(mode, defect, True, directory))
        begins = [{"case": "without traps", **plain}, {"case": "with traps", **clean}]
        if played[:2] != begins[: len(played)]:
            raise SystemExit(f"{done} is of other code, remove it: it does not begin with {begins}")
        for case in begins[len(played) :]:
            print(json.dumps(case), flush=True)
        listed = in_a_child(lambda: calls(mode, defect, directory), 4 * SECONDS)
        if listed.get("again") != clean:
            raise SystemExit(f"the calls cannot be listed: {listed}")
        first, later = listed["only first"], listed["calls"]
        of = len(first) + len(later)
        if any(each.get("of", of) != of for each in played):
            raise SystemExit(f"{done} is of other code, remove it: {of} calls are found now")
        cases = list(enumerate([*first, *later]))
        bound = False
        for number, target in cases[seed % every :: every][max(0, len(played) - 2) :]:
            if number >= len(first) and not bound:
                bound = True
                lab_run(mode, defect, True, directory)
            answer = in_a_child(lambda target=target: injected(mode, defect, target, directory))
            where = f"{target[0].removeprefix(HERE)}:{target[1]}"
            print(json.dumps({"case": where, "of": of, **answer}), flush=True)


if __name__ == "__main__":
    words = sys.argv[1:]
    options: dict[str, Any] = {"every": 1, "seed": 0, "done": "", "load": "smoke"}
    for name, default in options.items():
        if f"--{name}" in words:
            at = words.index(f"--{name}")
            options[name] = type(default)(words[at + 1])
            del words[at : at + 2]
    load = options.pop("load")
    main(words[0], words[1] if len(words) > 1 else None, **options)
