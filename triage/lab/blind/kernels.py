"""A folder of kernel mistakes, each held to the contract of an op by `triage kernels validate`.

NAME/kernel.py has the mistake, NAME/correct.py has not, NAME/mistake.json says which op's
contract the function claims to keep.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from triage.errors import LabError
from triage.lab.blind.folders import UNREADABLE, Progress, folders_of, rows_of

ABOUT = "mistake.json"
CAUGHT, MISSED, BROKEN = "caught", "missed", "driver broken"
SECONDS = 900
_KEPT = 400
_DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}


@dataclass(slots=True)
class Line:
    """One mistake. caught_by: checks that failed. said: the worst finding of the first of them."""

    mistake: str
    what: str = ""
    reference: str = ""
    op: str = ""
    expected: str = ""
    result: str = BROKEN
    why: str = ""
    caught_by: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    false_alarm: str = ""

    def json(self) -> dict[str, Any]:
        return asdict(self)


def play(
    path: Path,
    progress: Progress = lambda done, total: None,
    *,
    device: str = "cpu",
    seconds: float = SECONDS,
) -> list[dict[str, Any]]:
    """A row for each mistake. A validator that cannot run is the row's `why`.

    device: "cpu" for Triton's interpreter, or "cuda". seconds: the most that one kernel may take.
    Raises LabError where there is none.
    """
    folders = folders_of(path, ABOUT, "kernel mistake")
    return rows_of(folders, lambda folder: _line(folder, device, seconds).json(), progress)


def _line(folder: Path, device: str, seconds: float) -> Line:
    line = Line(mistake=folder.name)
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        line.what, line.reference = str(about["what"]), str(about["reference"])
        line.op, line.expected = str(about["op"]), str(about["expected"])
        clean = _validated(folder, "correct", about, device, seconds)
        failed = [each for each in clean["results"] if each["outcome"] == "FAIL"]
        line.false_alarm = "; ".join(f"{each['check']}: {each['worst']}" for each in failed)[:_KEPT]
        found = _validated(folder, "kernel", about, device, seconds)
    except UNREADABLE as error:
        line.why = f"{type(error).__name__}: {error}"
        return line
    failed = [each for each in found["results"] if each["outcome"] == "FAIL"]
    line.caught_by = list(dict.fromkeys(each["check"] for each in failed))
    line.said = list(
        dict.fromkeys(
            f"{each['check']} ({each['dtype']}): {(each['failures'] or [each['worst']])[0]}"[:_KEPT]
            for each in failed
        )
    )
    line.result = CAUGHT if failed else MISSED
    if not failed:
        line.why = ", ".join(f"{n} {what}" for what, n in found["counts"].items() if n)
    return line


def _validated(
    folder: Path, module: str, about: dict[str, Any], device: str, seconds: float
) -> dict[str, Any]:
    """The report of `triage kernels validate`. Raises LabError where it gave none."""
    target = f"{module}:{about['callable']}"
    command = [sys.executable, "-m", "triage", "kernels", "validate", "--json"]
    command += ["--device", device]
    command += ["--callable", target, "--like", str(about["op"])]
    for ours, theirs in dict(about.get("map") or {}).items():
        command += ["--map", f"{ours}={theirs}"]
    for dtype in about.get("dtypes") or ():
        command += ["--dtype", _DTYPES.get(str(dtype), str(dtype))]
    path = os.pathsep.join(filter(None, [str(folder.resolve()), os.environ.get("PYTHONPATH", "")]))
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{module} took more than {seconds:.0f} s") from None
    start = done.stdout.find("{")
    if done.returncode not in (0, 1) or start < 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no reason given")[-_KEPT:]
        raise LabError(f"{module}: the validator ended with {done.returncode}: {last}")
    report: dict[str, Any] = json.loads(done.stdout[start:])
    return report
