"""All drivers of one release: SGLang is imported once, and each run is a process forked from there.

So a driver may do to its process what it likes, end it too, and none finds what another left.

    python -m triage.lab.blind.player REQUEST    JSON: files, checks, directory, results, rehearse
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from triage.lab.blind.driver import Driver, Expected, read
from triage.lab.blind.play import (
    LEFT_OUT,
    Alarm,
    Line,
    Run,
    broken,
    described,
    judged,
    played,
    unstopped,
)
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
            directory = Path(request["directory"]) / Path(name).stem
            for line in _lines(
                Path(name), version, request["checks"], directory, request["rehearse"]
            ):
                results.write(json.dumps(line.json()) + "\n")
                results.flush()


def _lines(
    file: Path, version: str, sets: Sequence[str], directory: Path, rehearse: bool
) -> Iterator[Line]:
    """A line for each of `sets` of checks; what runs without the traps runs once for all."""
    answer = _apart(partial(_asked, file, version))
    about = Line(driver=file.stem, sglang=version, why=answer.get("died", ""))
    about = Line(**answer["line"]) if "line" in answer else about
    words = tuple(answer.get("keywords", ()))
    truth: Run | str = about.why or _run_apart(file, sets[0], directory, TRUTH)
    for checks in sets:
        line = replace(about, checks=checks)
        if isinstance(truth, str):
            line.why = truth
            yield line
            continue
        runs: dict[str, Run | str] = {}
        for what in (CLEAN,) if rehearse else (TRAPPED, CLEAN):
            runs[what] = _run_apart(file, checks, directory / checks, what, traps=not rehearse)
        trapped, clean = truth if rehearse else runs[TRAPPED], runs[CLEAN]
        if isinstance(clean, str):
            line.why = clean
        elif isinstance(trapped, str):  # nobody stopped what ends the process
            unstopped(line, trapped, clean, truth)
        else:
            judged(line, Expected(line.expected, words), trapped, clean, truth)
        yield line


def _run_apart(
    file: Path, checks: str, directory: Path, what: str, traps: bool = True
) -> Run | str:
    """The run, or how its process ended."""
    answer = _apart(partial(_run, file, checks, directory, what, traps))
    return f"{what}: {answer['died']}" if "died" in answer else _as_run(answer)


def _asked(file: Path, version: str) -> dict[str, Any]:
    """The line so far, whose `why` says why there is no more of it; the driver's keywords."""
    line = Line(driver=file.stem, sglang=version)
    words: tuple[str, ...] = ()
    try:
        driver = read(file)
        line, words = described(driver, version), driver.expected.keywords
        if why := driver.applies(version):
            line.result, line.why = LEFT_OUT, why
    except Exception as error:  # somebody else's file
        broken(line, error)
    return {"line": line.json(), "keywords": words}


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
