"""All drivers of one release: SGLang is imported once, and each run is a process forked from there.

So a driver may do to its process what it likes, end it too, and none finds what another left.

    python -m triage.lab.blind.player REQUEST    JSON: files, checks, directory, results, rehearse
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from triage.lab.blind.driver import Driver, read
from triage.lab.blind.play import LEFT_OUT, Line, Run, broken, described, judged, played
from triage.lab.process import LabProcess, start

RUN_S = 180
"""What one run may take; a driver's loop that does not end is a broken driver."""
TRAPPED, CLEAN, TRUTH = "planted, traps on", "not planted, traps on", "planted, traps off"


def main(request: dict[str, Any]) -> None:
    """Play `files` under each of `checks`; append one line a driver and set to `results`."""
    from triage.lab import bootstrap

    version = bootstrap.prepare()
    with Path(request["results"]).open("a", encoding="utf-8") as results:
        for name in request["files"]:
            for checks in request["checks"]:
                directory = Path(request["directory"]) / Path(name).stem / checks
                line = _line(Path(name), version, checks, directory, request["rehearse"])
                results.write(json.dumps(line.json()) + "\n")
                results.flush()


def _line(file: Path, version: str, checks: str, directory: Path, rehearse: bool) -> Line:
    line = Line(driver=file.stem, sglang=version, checks=checks)
    answer = _apart(lambda: _asked(file, version, checks))
    if "line" not in answer:
        line.why = answer["died"]
        return line
    line = Line(**answer["line"])
    if line.why:
        return line
    runs = {}
    for what in (CLEAN, TRUTH) if rehearse else (TRAPPED, CLEAN, TRUTH):
        answer = _apart(partial(_run, file, checks, directory, what, not rehearse))
        if "died" in answer:
            line.why = f"{what}: {answer['died']}"
            return line
        runs[what] = _as_run(answer)
    trapped = runs[TRUTH] if rehearse else runs[TRAPPED]
    answer = _apart(lambda: judged(line, read(file), trapped, runs[CLEAN], runs[TRUTH]).json())
    if "died" in answer:
        line.why = answer["died"]
        return line
    return Line(**answer)


def _asked(file: Path, version: str, checks: str) -> dict[str, Any]:
    """The line so far; its `why` says why there is no more of it."""
    line = Line(driver=file.stem, sglang=version, checks=checks)
    try:
        driver = read(file)
        line = described(driver, version, checks)
        if why := driver.applies(version):
            line.result, line.why = LEFT_OUT, why
    except Exception as error:  # somebody else's file
        broken(line, error)
    return {"line": line.json()}


def _run(file: Path, checks: str, directory: Path, what: str, traps: bool) -> dict[str, Any]:
    driver: Driver = read(file)
    process: LabProcess = start(
        traps=True, fixes=(), directory=directory / what.replace(", ", "-"), checks=checks
    )
    return played(
        process,
        driver,
        process.directory,
        traps=traps and what != TRUTH,
        planted=what != CLEAN,
    ).json()


def _as_run(answer: dict[str, Any]) -> Run:
    from triage.lab.blind.play import Alarm

    alarm = answer["alarm"] and Alarm(**answer["alarm"])
    harmed = answer["harmed"] and (answer["harmed"][0], answer["harmed"][1])
    return Run(**{**answer, "alarm": alarm, "harmed": harmed})


def _apart(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns in a process forked from here, or {"died": how it ended}."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    child = fork.Process(target=_answered, args=(work, theirs))
    child.start()
    theirs.close()
    ended = time.monotonic() + RUN_S
    try:
        if ours.poll(max(0.0, ended - time.monotonic())):
            found: dict[str, Any] = ours.recv()
            return found
        return {"died": f"it took more than {RUN_S} s"}
    except EOFError:
        child.join()
        return {"died": f"its process ended with {_how(child.exitcode)}"}
    finally:
        if child.is_alive() and not ours.closed:
            child.join(1)
        if child.is_alive():
            child.kill()
        child.join()
        ours.close()


def _answered(work: Callable[[], dict[str, Any]], pipe: Any) -> None:
    try:
        pipe.send(work())
    except BaseException as error:  # told to the parent, which goes on
        pipe.send({"died": f"{type(error).__name__}: {error}"})


def _how(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
