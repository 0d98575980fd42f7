"""SGLang releases beside the installed one: each in a directory of its own, first on the path.

`make` unpacks them without dependencies into `<environment>/sglang/<version>`;
one environment has the dependencies of all. A release is chosen by starting a
new process, because SGLang cannot be imported twice.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triage.errors import LabError

ROOT = Path(sys.prefix) / "sglang"


def available() -> dict[str, Path]:
    """Version -> directory, of the installed release and those unpacked beside it."""
    found = _installed()
    if ROOT.is_dir():
        beside = sorted(path for path in ROOT.iterdir() if (path / "sglang").is_dir())
        found |= {path.name: path for path in beside if not path.name.endswith(".partial")}
    return dict(sorted(found.items()))


def _installed() -> dict[str, Path]:
    """The release of the environment itself, whichever one this process runs under."""
    library = Path(sysconfig.get_path("purelib"))
    there = importlib.metadata.distributions(name="sglang", path=[str(library)])
    return {distribution.version: library for distribution in there}


def environment(version: str) -> dict[str, str]:
    """The environment in which `import sglang` finds `version`; LabError lists the known ones."""
    found = available()
    if version not in found:
        known = ", ".join(found) or "none"
        raise LabError(
            f"SGLang {version} is not unpacked in {ROOT} (there: {known}); "
            f"pip install --no-deps --target {ROOT / version} sglang=={version}"
        )
    path = os.pathsep.join(filter(None, [str(found[version]), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "TRITON_INTERPRET": "1"}


def restart(version: str, arguments: list[str]) -> None:
    """Replace this process by the same command under another release. Does not return."""
    command = [sys.executable, "-m", "triage", *arguments]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment(version))


def install(version: str) -> None:
    """Unpack a release beside the others, without its dependencies. Raises LabError."""
    if version in available():
        return
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
    done = subprocess.run(
        [*command, str(ROOT / version), f"sglang=={version}"], capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise LabError(f"SGLang {version} could not be installed: {last}")


def run_all(scenario: str) -> Iterator[dict[str, Any]]:
    """Run `scenario` under each release at hand; a release that fails says why, in one line."""
    for version in available():
        command = [sys.executable, "-m", "triage", "lab", "run", scenario, "--json"]
        done = subprocess.run(command, env=environment(version), capture_output=True, text=True)
        lines = done.stdout.strip().splitlines()
        if done.returncode not in (0, 1) or not lines:
            reason = (done.stderr.strip() or "no output").splitlines()[-1]
            yield {"sglang": version, "outcome": "failed", "detail": reason}
            continue
        report = json.loads(lines[-1])
        detail = f"{report['launches']} launches, {report['steps']} decode steps"
        yield {"sglang": version, "outcome": report["outcome"], "detail": detail}
